"""FRED: economic series of the Federal Reserve Bank of St. Louis."""

from ray_pipeline.providers.provider import Provider
from ray_pipeline.providers.quota import SECOND, Quota, sliding
from ray_pipeline.providers.refusals import Refusal, Verdict, by_status_or_broken, error_message
from ray_pipeline.transport.answer import Answer


def classify(answer: Answer) -> Verdict | None:
    """Recognise FRED's refusals: HTTP status 400 for a bad key as well as for a bad request."""
    if answer.status == 400:
        message = error_message(answer)
        return Verdict(Refusal.KEY if "api_key" in message else Refusal.REQUEST, message)
    return by_status_or_broken(answer)


PROVIDER = Provider(
    "fred",
    "FRED",
    "https://api.stlouisfed.org/fred",
    Quota((sliding(2, SECOND),)),
    auth="query",
    auth_name="api_key",
    classify=classify,
    free_plan="2 calls a second",
    key_url="https://fred.stlouisfed.org/docs/api/api_key.html",
)
