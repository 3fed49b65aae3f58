"""Bithumb: the markets of a Korean exchange."""

from ray_pipeline.providers.provider import Provider
from ray_pipeline.providers.quota import SECOND, Quota, sliding
from ray_pipeline.providers.refusals import Refusal, Verdict, by_status_or_broken, one_line
from ray_pipeline.transport.answer import Answer


def classify(answer: Answer) -> Verdict | None:
    """Recognise Bithumb's refusals with HTTP status 200: an `error`, or a `status` besides 0000."""
    if verdict := by_status_or_broken(answer):
        return verdict
    body = answer.body()
    if not isinstance(body, dict):
        return None
    error = body.get("error")
    if isinstance(error, dict):
        kind = Refusal.NOT_FOUND if str(error.get("name")) == "404" else Refusal.REQUEST
        return Verdict(kind, one_line(str(error.get("message", error))))
    status = str(body.get("status", "0000"))
    if status != "0000":
        message = one_line(str(body.get("message")))
        return Verdict(Refusal.REQUEST, f"status {status}: {message}")
    return None


PROVIDER = Provider(
    "bithumb",
    "Bithumb",
    "https://api.bithumb.com",
    Quota((sliding(10, SECOND),)),
    classify=classify,
    needs_key=False,
    free_plan="public",
)
