"""The pause that a server requests with Retry-After: read in one place, and always bounded."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime

from ray_pipeline.foreign_text import foreign_text

# A server's clock or code can be wrong. A stream without data is worse than one call too many.
LONGEST_STREAM_PAUSE_S = 3_600.0
# Of batch calls: the longest pause that a daily quota explains.
LONGEST_BATCH_PAUSE_S = 86_400.0
SHOWN_CHARACTERS = 40


@dataclass(frozen=True, slots=True)
class RetryAfter:
    """
    The pause that a server requested.

    Attributes:
        requested: The header as the server wrote it, shortened.
        wait_s: The seconds to wait; at least 0, never more than the limit.
    """

    requested: str
    wait_s: float

    def __str__(self) -> str:
        """Return the request and the pause for people."""
        return f"the provider asked for {self.requested}, waiting {self.wait_s:g} s"


def parse_retry_after(
    values: Iterable[str], *, now: datetime, longest_s: float
) -> RetryAfter | None:
    """
    Return the longest pause that the values of the header request; None if none can be read.

    Args:
        values: The values of all Retry-After headers: seconds, or dates.
        now: The time, for dates.
        longest_s: A longer pause is shortened to this one.
    """
    pauses = [
        RetryAfter(foreign_text(value)[:SHOWN_CHARACTERS], bounded_s(seconds, longest_s=longest_s))
        for value in values
        if (seconds := _seconds(value.strip(), now)) is not None
    ]
    return max(pauses, key=lambda pause: pause.wait_s, default=None)


def bounded_s(seconds: float, *, longest_s: float) -> float:
    """Return a pause between 0 and `longest_s`; infinity is the longest."""
    return min(max(seconds, 0.0), longest_s)


def _seconds(text: str, now: datetime) -> float | None:
    """Return the seconds in a number or until a date; None if the text is neither."""
    try:
        seconds = float(text)
    except ValueError:
        return _until(text, now)
    return None if math.isnan(seconds) else seconds


def _until(text: str, now: datetime) -> float | None:
    try:
        moment = parsedate_to_datetime(text)
        # A date without a zone is in UTC, as HTTP has it.
        moment = moment if moment.tzinfo else moment.replace(tzinfo=now.tzinfo)
        return (moment - now).total_seconds()
    except (ValueError, TypeError, OverflowError, IndexError):
        # A repeated header may arrive as one value: "5, 10".
        parts = text.split(",")
        numbers = [_seconds(part.strip(), now) for part in parts] if len(parts) > 1 else []
        return max((number for number in numbers if number is not None), default=None)
