"""Cron in a named zone: slots in UTC, through both clock changes."""

import itertools
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ray_pipeline.errors import ConfigurationError
from ray_pipeline.schedules.cron import NEW_YORK, Cron

MOMENTS = st.datetimes(
    datetime(2020, 1, 1),
    datetime(2035, 1, 1),
    timezones=st.just(UTC),
)


def utc(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)


def test_a_day_begins_an_hour_earlier_in_new_yorks_summer():
    """The same hour there is another one in UTC on both sides of the change."""
    cron = Cron("30 16 * * *", NEW_YORK)

    slots = list(cron.between(utc(2026, 3, 6, 22), utc(2026, 3, 9)))

    assert slots == [utc(2026, 3, 7, 21, 30), utc(2026, 3, 8, 20, 30)]


def test_a_time_that_does_not_exist_runs_once_after_the_gap():
    """2026-03-08 has no 02:30 in New York."""
    slots = list(Cron("30 2 * * *", NEW_YORK).between(utc(2026, 3, 8, 0), utc(2026, 3, 9, 0)))

    assert len(slots) == 1
    assert utc(2026, 3, 8, 7) <= slots[0] <= utc(2026, 3, 8, 8)


def test_a_time_that_comes_twice_runs_once():
    """2026-11-01 has 01:30 twice in New York."""
    slots = list(Cron("30 1 * * *", NEW_YORK).between(utc(2026, 11, 1, 0), utc(2026, 11, 2, 0)))

    assert slots == [utc(2026, 11, 1, 5, 30)]


def test_an_hourly_job_runs_every_hour_of_both_changes():
    """23 hours in March, 25 in November, each once."""
    cron = Cron("0 * * * *", NEW_YORK)

    for day, hours in ((8, 23), (1, 25)):
        begin = datetime(2026, 3 if hours == 23 else 11, day, tzinfo=ZoneInfo(NEW_YORK))
        end = begin + timedelta(days=1)
        slots = list(cron.between(begin.astimezone(UTC), end.astimezone(UTC)))
        assert len(slots) == hours
        assert {after - before for before, after in itertools.pairwise(slots)} == {
            timedelta(hours=1)
        }


@given(
    moment=MOMENTS,
    minute=st.integers(0, 59),
    hour=st.integers(0, 23),
    zone=st.sampled_from(["UTC", NEW_YORK, "Asia/Seoul", "Europe/Berlin"]),
)
def test_a_daily_job_runs_once_a_day_for_ever(moment, minute, hour, zone):
    """Two slots of neighbours are 23 to 25 hours apart, and the last one is behind us."""
    cron = Cron(f"{minute} {hour} * * *", zone)

    slots = list(cron.between(moment, moment + timedelta(days=10)))

    assert len(slots) in {9, 10, 11}
    for before, after in itertools.pairwise(slots):
        assert timedelta(hours=22, minutes=59) < after - before < timedelta(hours=25, minutes=1)
    latest = cron.latest(moment)
    assert latest is not None
    assert latest <= moment < cron.next(latest)


@pytest.mark.parametrize(("expression", "zone"), [("a b c", "UTC"), ("0 0 * * *", "Mars/Base")])
def test_what_cannot_be_read_is_refused_with_the_fix(expression, zone):
    """When the module is imported, not at the slot."""
    with pytest.raises(ConfigurationError, match="fix"):
        Cron(expression, zone)
