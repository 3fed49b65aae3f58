"""Checks of a record before it is stored, and of a gap."""

from datetime import UTC, datetime
from decimal import Decimal

import msgspec

from ray_pipeline.dead_letter_reasons import Reason
from ray_pipeline.errors import BadRecord
from ray_pipeline.feeds.layout import MOST_DIGITS
from ray_pipeline.feeds.records import Gap, from_ms
from ray_pipeline.timestamps import in_utc, nearest_of_ms

OLDEST_MS = 946_684_800_000  # 2000-01-01: no venue has older data, and each month has a partition
OLDEST = from_ms(OLDEST_MS)


def received_text(created_at: datetime | None, broker_ms: int) -> str:
    """Return the time of receipt in UTC for Postgres; the nearest that Python can represent."""
    if created_at is None:
        return nearest_of_ms(broker_ms).isoformat()
    if created_at.tzinfo is UTC:
        return created_at.isoformat()
    return in_utc(created_at).isoformat()


def check_number(number: Decimal, name: str) -> None:
    """
    Refuse a number of impossible size, and what is not a number.

    Raises:
        BadRecord: If it is larger than 10 ** MOST_DIGITS or smaller than its inverse, or if it is
            infinite or NaN. A decoder of JSON reads the text "NaN" as a Decimal, and a NaN has no
            order, so a bar could not be built from it.
    """
    if not number.is_finite() or (number and not -MOST_DIGITS < number.adjusted() < MOST_DIGITS):
        raise BadRecord(f"{name} is out of any range", reason=Reason.BAD_NUMBER)


def bad_event_time(event_ms: int, *, now_ms: int) -> BadRecord:
    """Return the error for a time outside the allowed range."""
    if event_ms > now_ms:
        # It would stay the latest value until that time.
        return BadRecord(f"dated {event_ms - now_ms} ms ahead", reason=Reason.FUTURE_DATED)
    return BadRecord(f"dated {event_ms} ms after 1970", reason=Reason.BAD_TIME)


def storable_gap(gap: Gap, *, latest: datetime) -> Gap:
    """
    Return a gap that Postgres can store and every reader can read.

    Times outside the range from 2000 to `latest` are moved into it, and the cause names them. Its
    texts need no change: the connection to Postgres writes any text.
    """
    times = {"from_at": gap.from_at, "to_at": gap.to_at}
    moved = {
        name: min(max(utc, OLDEST), latest)
        for name, moment in times.items()
        if moment is not None and not OLDEST <= (utc := in_utc(moment)) <= latest
    }
    remarks = "".join(f" ({name} was {times[name]})" for name in moved)
    return msgspec.structs.replace(gap, cause=gap.cause + remarks, **moved)
