"""Wikipedia: the page of the S&P 500's members."""

from ray_pipeline.providers.provider import Provider
from ray_pipeline.providers.quota import SECOND, Quota, sliding
from ray_pipeline.providers.refusals import Refusal, Verdict, by_status
from ray_pipeline.transport.answer import Answer


def classify(answer: Answer) -> Verdict | None:
    """Classify a web page by its status, and by whether its end has arrived."""
    if verdict := by_status(answer):
        return verdict
    if "</html>" not in answer.text[-2000:].lower():
        return Verdict(Refusal.BROKEN, "the page is cut off")
    return None


PROVIDER = Provider(
    "wikipedia",
    "Wikipedia",
    "https://en.wikipedia.org",
    Quota((sliding(1, SECOND),)),
    classify=classify,
    needs_key=False,
    # Wikimedia requires robots to identify themselves.
    headers=(("User-Agent", "ray-pipeline/0.1 (market data collector)"),),
    free_plan="public",
)
