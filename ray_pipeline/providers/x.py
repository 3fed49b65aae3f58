"""X: posts and profiles of accounts."""

from datetime import timedelta

from ray_pipeline.providers.provider import Provider
from ray_pipeline.providers.quota import Quota, Window, sliding
from ray_pipeline.providers.refusals import (
    Refusal,
    Verdict,
    by_status_or_broken,
    error_message,
    json_or_none,
    one_line,
)
from ray_pipeline.transport.answer import Answer


def classify(answer: Answer) -> Verdict | None:
    """
    Recognise X's refusals: 429 with the time of the reset, and the usage cap of the month.

    A 403 concerns the access of the application, so the key. A 404, or errors without data with
    HTTP status 200, concern the requested account.
    """
    body = json_or_none(answer)
    if isinstance(body, dict):
        title = str(body.get("title", "")).replace(" ", "")
        if answer.status in {403, 429} and "UsageCapExceeded" in title:
            return Verdict(Refusal.QUOTA, error_message(answer))
        if body.get("errors") and "data" not in body and answer.status == 200:
            first = body["errors"][0]
            kind = Refusal.NOT_FOUND if "Not Found" in str(first.get("title")) else Refusal.REQUEST
            return Verdict(kind, one_line(str(first.get("detail", first))))
    return by_status_or_broken(answer)


PROVIDER = Provider(
    "x",
    "X",
    "https://api.twitter.com/2",
    # The free plan allows one call of a timeline in 15 minutes per token. The month's limit is our
    # choice: each call may read 50 posts, and the documented cap has been 1,500 posts.
    Quota((sliding(1, timedelta(minutes=15)), Window(100, reset="month"))),
    auth="bearer",
    classify=classify,
    free_plan="1 call in 15 minutes and 100 a month a token",
    key_url="https://developer.x.com",
)
