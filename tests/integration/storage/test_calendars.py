"""Trading sessions, read in a process of their own."""

import logging
from datetime import UTC, date, datetime

from ray_pipeline.storage.calendars import market_hours
from ray_pipeline.stream.liveness import ALWAYS_OPEN

MONDAY = date(2026, 11, 23)


def unix_s(*parts: int) -> float:
    return datetime(*parts, tzinfo=UTC).timestamp()


async def test_a_holiday_has_no_session_and_a_short_day_closes_early():
    """Thanksgiving 2026 is November 26; the next day New York closes at 13:00."""
    hours = await market_hours("XNYS", today=MONDAY)

    days = {datetime.fromtimestamp(opens, UTC).date(): closes for opens, closes in hours.sessions}
    assert date(2026, 11, 26) not in days
    assert days[date(2026, 11, 25)] == unix_s(2026, 11, 25, 21)
    assert days[date(2026, 11, 27)] == unix_s(2026, 11, 27, 18)


async def test_a_venue_without_a_calendar_is_always_open():
    """Crypto markets do not close."""
    assert await market_hours(None) is ALWAYS_OPEN


async def test_an_unknown_calendar_counts_as_always_open(caplog):
    """An unnecessary reconnect costs less than an undetected stall; the log says so."""
    with caplog.at_level(logging.WARNING):
        assert await market_hours("NO-SUCH-VENUE", today=MONDAY) is ALWAYS_OPEN

    assert "NO-SUCH-VENUE" in caplog.text
