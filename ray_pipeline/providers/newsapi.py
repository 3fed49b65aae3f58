"""NewsAPI: headlines."""

from ray_pipeline.providers.provider import Provider
from ray_pipeline.providers.quota import DAY, HOUR, SECOND, Quota, sliding
from ray_pipeline.providers.refusals import (
    Refusal,
    Verdict,
    by_status_or_broken,
    error_message,
    requested_pause,
    text_field,
)
from ray_pipeline.transport.answer import Answer

BY_CODE = {
    "rateLimited": Refusal.QUOTA,  # of the day, not of the second
    "apiKeyExhausted": Refusal.QUOTA,
    "apiKeyInvalid": Refusal.KEY,
    "apiKeyDisabled": Refusal.KEY,
    "apiKeyMissing": Refusal.KEY,
    "maximumResultsReached": Refusal.PLAN,
    "parameterInvalid": Refusal.REQUEST,
    "parametersMissing": Refusal.REQUEST,
    "sourcesTooMany": Refusal.REQUEST,
    "sourceDoesNotExist": Refusal.NOT_FOUND,
    "unexpectedError": Refusal.SERVER,
}


def classify(answer: Answer) -> Verdict | None:
    """Recognise NewsAPI's error codes."""
    kind = BY_CODE.get(text_field(answer, "code"))
    if kind is not None and text_field(answer, "status") == "error":
        return Verdict(kind, error_message(answer), requested_pause(answer))
    return by_status_or_broken(answer)


PROVIDER = Provider(
    "newsapi",
    "NewsAPI",
    "https://newsapi.org/v2",
    Quota((sliding(1, SECOND), sliding(50, 12 * HOUR), sliding(100, DAY))),
    auth="header",
    auth_name="X-Api-Key",
    classify=classify,
    free_plan="100 calls a day, 50 in 12 hours, articles a day late",
    key_url="https://newsapi.org/register",
)
