"""Finnhub: news of companies and markets; its WebSocket is a feed."""

from ray_pipeline.providers.provider import Provider
from ray_pipeline.providers.quota import MINUTE, SECOND, Quota, sliding
from ray_pipeline.providers.refusals import Refusal, Verdict, by_status_or_broken, error_message
from ray_pipeline.transport.answer import Answer


def classify(answer: Answer) -> Verdict | None:
    """Recognise Finnhub's refusals: a 403 can mean the plan; a 429 can be plain text."""
    if answer.status == 403 and "access to this resource" in answer.text:
        return Verdict(Refusal.PLAN, error_message(answer))
    return by_status_or_broken(answer)


PROVIDER = Provider(
    "finnhub",
    "Finnhub",
    "https://finnhub.io/api/v1",
    Quota((sliding(25, SECOND), sliding(60, MINUTE))),
    auth="header",
    auth_name="X-Finnhub-Token",
    classify=classify,
    free_plan="60 calls a minute, 50 symbols a WebSocket",
    key_url="https://finnhub.io/register",
)
