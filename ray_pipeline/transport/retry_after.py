"""The pause that a server requests with Retry-After: read in one place, and always bounded."""

import math
import re
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
# A repeated header may arrive as one value, a list: "5, 10". The comma after the name of a day
# belongs to a date: "Wed, 21 Oct 2015 07:28:00 GMT".
PART = re.compile(r"\s*((?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)[a-z]*,[^,]*|[^,]+)", re.IGNORECASE)


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
    parts = (part.strip() for value in values for part in PART.findall(value))
    pauses = [
        _pause(part, seconds, longest_s=longest_s)
        for part in parts
        if (seconds := _seconds(part, now)) is not None
    ]
    return max(pauses, key=lambda pause: pause.wait_s, default=None)


def parse_reset(value: str, *, now: datetime, longest_s: float) -> RetryAfter | None:
    """Return the pause until the latest of the Unix times in a header; None if it has none."""
    pauses = [
        _pause(f"a pause until {part.strip()}", moment - now.timestamp(), longest_s=longest_s)
        for part in value.split(",")
        if (moment := _number(part.strip())) is not None
    ]
    return max(pauses, key=lambda pause: pause.wait_s, default=None)


def _pause(requested: str, seconds: float, *, longest_s: float) -> RetryAfter:
    shown = foreign_text(requested)[:SHOWN_CHARACTERS]
    return RetryAfter(shown, min(max(seconds, 0.0), longest_s))


def _seconds(text: str, now: datetime) -> float | None:
    """Return the seconds in a number or until a date; None if the text is neither."""
    number = _number(text)
    return _until(text, now) if number is None else number


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return None if math.isnan(number) else number


def _until(text: str, now: datetime) -> float | None:
    try:
        moment = parsedate_to_datetime(text)
        # A date without a zone is in UTC, as HTTP has it.
        moment = moment if moment.tzinfo else moment.replace(tzinfo=now.tzinfo)
        return (moment - now).total_seconds()
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
