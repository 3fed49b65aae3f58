"""Checks of a record and of a gap before they are stored."""

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

import pytest

from ray_pipeline.dead_letter_reasons import Reason
from ray_pipeline.errors import BadRecord
from ray_pipeline.feeds.layout import MOST_DIGITS
from ray_pipeline.feeds.records import Gap
from ray_pipeline.stream.rows import (
    OLDEST,
    bad_event_time,
    check_number,
    received_text,
    storable_gap,
)

NOON = datetime(2026, 9, 23, 12, tzinfo=UTC)
SEOUL = timezone(timedelta(hours=9))


def gap(**changes) -> Gap:
    fields = {"epoch": 1, "seq": 1, "pod_index": 3, "gap_kind": "stalled", "cause": "silence"}
    return Gap(**{**fields, **changes})


@pytest.mark.parametrize(
    ("created_at", "text"),
    [
        (NOON, "2026-09-23T12:00:00+00:00"),
        (datetime(2026, 9, 23, 21, tzinfo=SEOUL), "2026-09-23T12:00:00+00:00"),
        (datetime(2026, 9, 23, 12), "2026-09-23T12:00:00+00:00"),
        (None, "1970-01-01T00:00:01.500000+00:00"),
    ],
)
def test_a_time_of_receipt_is_in_utc(created_at, text):
    """A naive time is UTC already; without a time, the broker's counts."""
    assert received_text(created_at, 1_500) == text


@pytest.mark.parametrize(("broker_ms", "year"), [(2**62, "9999"), (-(2**62), "0001")])
def test_a_time_of_the_broker_beyond_the_calendar_is_the_nearest(broker_ms, year):
    """A client of the broker may send any number."""
    assert received_text(None, broker_ms).startswith(year)


@pytest.mark.parametrize("number", ["0", "-0", "1.5", f"1e{MOST_DIGITS - 1}", "-1e-299", "0e-999"])
def test_a_number_that_a_market_may_have_passes(number):
    """A zero has no size, whatever its exponent."""
    check_number(Decimal(number), "price")


@pytest.mark.parametrize(
    "number", ["NaN", "sNaN", "Infinity", "-Infinity", f"1e{MOST_DIGITS}", f"1e-{MOST_DIGITS}"]
)
def test_an_impossible_number_is_refused_with_its_name(number):
    with pytest.raises(BadRecord, match="volume is out of any range") as refused:
        check_number(Decimal(number), "volume")

    assert refused.value.reason == Reason.BAD_NUMBER


def test_an_event_time_is_refused_as_future_or_as_impossible():
    """The first is a clock that is wrong; the second is a broken record."""
    ahead = bad_event_time(6_000, now_ms=1_000)
    ancient = bad_event_time(-5, now_ms=1_000)

    assert (ahead.reason, str(ahead)) == (Reason.FUTURE_DATED, "dated 5000 ms ahead")
    assert (ancient.reason, str(ancient)) == (Reason.BAD_TIME, "dated -5 ms after 1970")


def test_a_usual_gap_is_stored_as_it_is():
    """Both limits of the range belong to it."""
    usual = gap(from_at=OLDEST, to_at=NOON, symbols=["AAPL"])

    assert storable_gap(usual, latest=NOON) == usual


@pytest.mark.parametrize(
    ("moment", "stored"),
    [
        (OLDEST - timedelta(microseconds=1), OLDEST),
        (NOON + timedelta(microseconds=1), NOON),
        (datetime(1999, 12, 31), OLDEST),
        (datetime.max.replace(tzinfo=timezone(-timedelta(hours=9))), NOON),
        (datetime.min.replace(tzinfo=SEOUL), OLDEST),
    ],
)
@pytest.mark.parametrize("name", ["from_at", "to_at"])
def test_a_time_out_of_range_is_moved_into_it_and_named(name, moment, stored):
    """Postgres has partitions from 2000 on; the cause keeps the time that was sent."""
    kept = storable_gap(gap(**{name: moment}), latest=NOON)

    assert getattr(kept, name) == stored
    assert kept.cause == f"silence ({name} was {moment})"


def test_an_unknown_start_stays_unknown():
    kept = storable_gap(gap(from_at=None, to_at=NOON + timedelta(days=1)), latest=NOON)

    assert (kept.from_at, kept.to_at) == (None, NOON)
