"""
Trading sessions of an exchange.

The calendars need pandas, which takes 70 MB, for two numbers a day. So a separate process reads
them, and no actor loads pandas. It prints JSON:
`python -m ray_pipeline.storage.calendars XNYS 2026-01-01 2026-12-31`.
"""

import asyncio
import functools
import json
import logging
import subprocess
import sys
from datetime import UTC, date, datetime, timedelta

from ray_pipeline.stream.liveness import ALWAYS_OPEN, MarketHours

log = logging.getLogger(__name__)

BACK_DAYS = 7
AHEAD_DAYS = 400
TIMEOUT_S = 60.0


async def market_hours(venue: str | None, *, today: date | None = None) -> MarketHours:
    """
    Return the sessions of the coming 400 days; always open without a venue.

    If the calendar cannot be read, the market counts as always open: an unnecessary reconnect costs
    less than an undetected stall.
    """
    if venue is None:
        return ALWAYS_OPEN
    first = (today or datetime.now(UTC).date()) - timedelta(days=BACK_DAYS)
    try:
        return await asyncio.to_thread(_read, venue, first)
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        log.warning(
            "the calendar of %s cannot be read, silence counts at all hours: %s", venue, error
        )
        return ALWAYS_OPEN


@functools.lru_cache(maxsize=8)
def _read(venue: str, first: date) -> MarketHours:
    last = first + timedelta(days=BACK_DAYS + AHEAD_DAYS)
    command = [sys.executable, "-m", __name__, venue, first.isoformat(), last.isoformat()]
    done = subprocess.run(  # noqa: S603 - our own module
        command, check=True, capture_output=True, timeout=TIMEOUT_S
    )
    return MarketHours(tuple((opens, closes) for opens, closes in json.loads(done.stdout)))


def sessions(venue: str, first: date, last: date) -> list[tuple[float, float]]:
    """Return opening and closing of each session from `first` to `last`, Unix seconds, sorted."""
    from exchange_calendars import get_calendar  # noqa: PLC0415 - brings pandas

    # Calendars end a year ahead unless told otherwise.
    calendar = get_calendar(venue, start=first.isoformat(), end=last.isoformat())
    schedule = calendar.schedule
    return [
        (opens.timestamp(), closes.timestamp())
        for opens, closes in zip(schedule["open"], schedule["close"], strict=True)
    ]


if __name__ == "__main__":
    venue, first, last = sys.argv[1:]
    json.dump(sessions(venue, date.fromisoformat(first), date.fromisoformat(last)), sys.stdout)
