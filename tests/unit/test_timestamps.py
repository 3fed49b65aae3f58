"""Arithmetic on times never leaves Python's calendar."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ray_pipeline.timestamps import (
    EARLIEST,
    LATEST,
    in_utc,
    nearest_of_ms,
    nearest_of_unix,
    shifted,
)

OFFSETS = st.integers(-24 * 60 + 1, 24 * 60 - 1).map(lambda m: timezone(timedelta(minutes=m)))


@given(st.datetimes(timezones=st.none() | OFFSETS))
def test_a_time_in_utc_is_the_same_time_or_an_end(moment):
    """An offset carries the first and the last day out of the calendar."""
    found = in_utc(moment)

    assert found.tzinfo is UTC
    same = found == (moment if moment.tzinfo else moment.replace(tzinfo=UTC))
    assert same or found in (EARLIEST, LATEST)


@given(st.datetimes(timezones=st.just(UTC)), st.timedeltas())
def test_a_shift_goes_the_right_way_and_stops_at_the_end(moment, by):
    found = shifted(moment, by)

    assert (found >= moment) if by >= timedelta(0) else (found <= moment)
    assert found - moment == by or found in (EARLIEST, LATEST)


@given(st.integers())
def test_any_number_of_milliseconds_is_a_time(timestamp_ms):
    """Columns of events hold any 64-bit integer, and JSON any integer."""
    found = nearest_of_ms(timestamp_ms)

    exact = (found - datetime(1970, 1, 1, tzinfo=UTC)) / timedelta(milliseconds=1)
    assert exact == timestamp_ms or found in (EARLIEST, LATEST)


@pytest.mark.parametrize(
    ("seconds", "moment"),
    [
        (0.0, datetime(1970, 1, 1, tzinfo=UTC)),
        (-210_863_520_000.0, EARLIEST),
        (float("-inf"), EARLIEST),
        (9_224_286_393_600.0, LATEST),
        (float("inf"), LATEST),
    ],
)
def test_any_number_of_seconds_is_a_time(seconds, moment):
    assert nearest_of_unix(seconds) == moment
