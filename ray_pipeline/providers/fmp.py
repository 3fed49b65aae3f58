"""Financial Modeling Prep: members of the S&P 500 and the earnings calendar."""

from ray_pipeline.providers.provider import Provider
from ray_pipeline.providers.quota import DAY, SECOND, Quota, sliding
from ray_pipeline.providers.refusals import (
    Refusal,
    Verdict,
    broken,
    by_status,
    error_message,
    requested_pause,
    text_field,
)
from ray_pipeline.transport.answer import Answer

PLAIN_TEXT = {402: Refusal.PLAN, 403: Refusal.KEY, 429: Refusal.QUOTA}


def classify(answer: Answer) -> Verdict | None:
    """Recognise FMP's refusals: 'Error Message' with any status, 'Limit Reach' for the quota."""
    message = error_message(answer)
    text = message.lower()
    if "limit reach" in text:
        return Verdict(Refusal.QUOTA, message, requested_pause(answer))
    if "exclusive endpoint" in text or "legacy endpoint" in text or "premium" in text:
        return Verdict(Refusal.PLAN, message)
    if "invalid api key" in text:
        return Verdict(Refusal.KEY, message)
    if answer.status in PLAIN_TEXT and not answer.text.lstrip().startswith(("{", "[", "<")):
        return Verdict(PLAIN_TEXT[answer.status], message, requested_pause(answer))
    if verdict := by_status(answer):
        return verdict
    if text_field(answer, "Error Message"):
        return Verdict(Refusal.REQUEST, message)
    return broken(answer)


PROVIDER = Provider(
    "fmp",
    "Financial Modeling Prep",
    "https://financialmodelingprep.com/stable",
    Quota((sliding(3, SECOND), sliding(250, DAY))),
    auth="query",
    auth_name="apikey",
    classify=classify,
    free_plan="250 calls a day",
    key_url="https://site.financialmodelingprep.com/developer/docs",
)
