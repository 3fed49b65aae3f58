"""
What an answer means when it is not data: the kinds of refusals, and what providers share.

Providers refuse in many ways, several of them with HTTP 200. Every answer is classified before it
is parsed, because a refusal that is taken for data, or for "nothing new", goes unnoticed for
months. Each provider's module has its own `classify`, which falls back to the functions here.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from ray_pipeline.transport.answer import Answer
from ray_pipeline.transport.retry_after import (
    LONGEST_BATCH_PAUSE_S,
    RetryAfter,
    parse_reset,
    parse_retry_after,
)


class Refusal(Enum):
    """Why an answer is not data. The reason decides what happens next."""

    RATE = "rate"  # too fast: the same call works after a pause
    QUOTA = "quota"  # the key has used up its day or month
    KEY = "key"  # the key is not accepted, and will not be until a person changes it
    PLAN = "plan"  # the plan does not include the request; no key of this plan helps
    REQUEST = "request"  # the provider does not understand the request
    NOT_FOUND = "not_found"  # the provider does not know the item
    BLOCKED = "blocked"  # a guard in front of the provider answered
    SERVER = "server"  # the provider failed
    OTHER_ITEM = "other_item"  # the answer is about another item than the requested one
    BROKEN = "broken"  # the answer is cut off, or is not what it claims to be


@dataclass(frozen=True, slots=True)
class Verdict:
    """
    A refusal.

    Attributes:
        refusal: The reason.
        message: The provider's text, on one line.
        pause: The pause that the provider requests; None without a request.
    """

    refusal: Refusal
    message: str
    pause: RetryAfter | None = None

    @property
    def reason(self) -> str:
        """The message, and the pause that the provider requests."""
        return f"{self.message}; {self.pause}" if self.pause else self.message


Classify = Callable[[Answer], Verdict | None]

LONGEST_MESSAGE = 300
BY_STATUS = {
    400: Refusal.REQUEST,
    401: Refusal.KEY,
    402: Refusal.PLAN,
    403: Refusal.KEY,
    404: Refusal.NOT_FOUND,
    408: Refusal.SERVER,
    410: Refusal.NOT_FOUND,
    422: Refusal.REQUEST,
    425: Refusal.SERVER,
    426: Refusal.PLAN,
    429: Refusal.RATE,
}


def by_status(answer: Answer) -> Verdict | None:
    """Classify an answer by its HTTP status, and by the pages of guards in front of a provider."""
    if "cf-mitigated" in answer.headers or _is_cloudflare(answer):
        message = "Cloudflare stands before the provider"
        return Verdict(Refusal.BLOCKED, message, requested_pause(answer))
    if answer.status < 400:
        return None
    other = Refusal.SERVER if answer.status >= 500 else Refusal.REQUEST
    message = f"HTTP {answer.status}: {one_line(answer.text)}"
    return Verdict(BY_STATUS.get(answer.status, other), message, requested_pause(answer))


def by_status_or_broken(answer: Answer) -> Verdict | None:
    """Classify an answer that has to be JSON by its HTTP status, then by whether it is JSON."""
    return by_status(answer) or broken(answer)


def broken(answer: Answer) -> Verdict | None:
    """Refuse a body that is not JSON: it was cut off, or another server answered."""
    try:
        answer.body()
    except ValueError:
        return Verdict(Refusal.BROKEN, f"not JSON, or cut off: {one_line(answer.text)}")
    return None


def requested_pause(answer: Answer) -> RetryAfter | None:
    """Return the pause that a provider requests: Retry-After, or the time until a reset."""
    header = answer.headers.get("retry-after", "")
    now, longest_s = answer.received_at, LONGEST_BATCH_PAUSE_S
    pause = parse_retry_after([header], now=now, longest_s=longest_s)
    if pause is None and answer.status == 429:
        reset = answer.headers.get("x-rate-limit-reset", "")
        pause = parse_reset(reset, now=now, longest_s=longest_s)
    return pause


def json_or_none(answer: Answer) -> Any:
    """Return the body as JSON; None if it is not JSON."""
    try:
        return answer.body()
    except ValueError:
        return None


def text_field(answer: Answer, name: str) -> str:
    """Return a field of a JSON object as text; '' if the body has no such field."""
    body = json_or_none(answer)
    return str(body.get(name, "")) if isinstance(body, dict) else ""


def error_message(answer: Answer) -> str:
    """Return the provider's explanation on one line, from whichever field contains it."""
    body = json_or_none(answer)
    text = next(_messages(body), answer.text) if isinstance(body, dict) else answer.text
    return one_line(text)


def one_line(text: str) -> str:
    """Return the beginning of a text, on one line."""
    flat = " ".join(text.split())
    return flat if len(flat) <= LONGEST_MESSAGE else f"{flat[:LONGEST_MESSAGE]}..."


def _is_cloudflare(answer: Answer) -> bool:
    # A challenge usually has status 403 or 503, but 200 has been seen too.
    start = answer.text[:2000].lower()
    return start.lstrip().startswith(("<!doctype", "<html")) and (
        "cloudflare" in start or "just a moment" in start or "attention required" in start
    )


def _messages(body: Mapping[str, Any]) -> Iterator[str]:
    # The object's own fields first, then those of nested objects, such as CoinGecko's `status`.
    for name in ("message", "Error Message", "error_message", "detail", "error", "title"):
        value = body.get(name)
        if isinstance(value, str) and value:
            yield value
    for value in body.values():
        if isinstance(value, dict):
            yield from _messages(value)
