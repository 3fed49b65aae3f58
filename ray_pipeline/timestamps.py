"""
Arithmetic on times near the limits of Python's calendar.

Tables that other programs write may contain any time, also one that Python cannot represent.
Readers replace such a time by EARLIEST or LATEST. The functions here return a time in this range
where `datetime` itself raises OverflowError or ValueError.
"""

from datetime import UTC, datetime, timedelta

EARLIEST = datetime.min.replace(tzinfo=UTC)
LATEST = datetime.max.replace(tzinfo=UTC)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MS = timedelta(milliseconds=1)


def in_utc(moment: datetime) -> datetime:
    """Return a time in UTC, or the nearest limit of the calendar; a naive time is UTC already."""
    if moment.tzinfo is None:
        return moment.replace(tzinfo=UTC)
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        return _end(before=moment.year == 1)


def shifted(moment: datetime, by: timedelta) -> datetime:
    """Return `moment + by`, or the limit of the calendar that it exceeds; `moment` is in UTC."""
    try:
        return moment + by
    except OverflowError:
        return _end(before=by < timedelta(0))


def nearest_of_ms(timestamp_ms: int) -> datetime:
    """Return the time of milliseconds since the epoch, or the nearest limit of the calendar."""
    try:
        return _EPOCH + timestamp_ms * _MS
    except OverflowError:
        return _end(before=timestamp_ms < 0)


def nearest_of_unix(seconds: float) -> datetime:
    """Return the time of seconds since the epoch, or the nearest limit of the calendar."""
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (OverflowError, ValueError, OSError):
        return _end(before=seconds < 0)


def _end(*, before: bool) -> datetime:
    return EARLIEST if before else LATEST
