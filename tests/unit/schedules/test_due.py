"""Which slots are due."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ray_pipeline.schedules.cron import NEW_YORK, Cron
from ray_pipeline.schedules.due import (
    LONGEST_OUTAGE,
    MISSED_LIMIT,
    due_slots,
    in_order,
    retry_at,
    submission_id,
)
from ray_pipeline.timestamps import EARLIEST, LATEST

HOURLY = Cron("0 * * * *")
NOW = datetime(2026, 11, 23, 12, 30, tzinfo=UTC)
MOMENTS = st.datetimes(
    datetime(2025, 1, 1),
    datetime(2027, 1, 1),
    timezones=st.just(UTC),
)


@pytest.mark.parametrize("catch_up", ["none", "latest", "all"])
def test_a_new_job_begins_with_the_latest_slot(catch_up):
    """There is something to look at before the next day begins, whatever the policy."""
    assert due_slots(HOURLY, catch_up, last=None, now=NOW) == [NOW.replace(minute=0)]


def test_missed_slots_are_made_up_for_as_the_job_wants():
    """All of them, only the last, or none that is late."""
    last = NOW.replace(minute=0) - timedelta(hours=5)

    assert len(due_slots(HOURLY, "all", last=last, now=NOW)) == 5
    assert due_slots(HOURLY, "latest", last=last, now=NOW) == [NOW.replace(minute=0)]
    assert due_slots(HOURLY, "none", last=last, now=NOW) == []
    assert due_slots(HOURLY, "none", last=last, now=NOW.replace(minute=1)) == [
        NOW.replace(minute=0)
    ]


@pytest.mark.parametrize("catch_up", ["none", "latest", "all"])
def test_a_slot_at_the_ends_of_the_calendar_stops_no_schedule(catch_up):
    """A row that somebody wrote by hand may be read as either."""
    daily = Cron("0 6 * * *", NEW_YORK)

    assert len(due_slots(daily, catch_up, last=EARLIEST, now=NOW)) <= MISSED_LIMIT
    assert due_slots(daily, catch_up, last=LATEST, now=NOW) == []
    assert retry_at(LATEST, attempt=3, pause_s=60.0) == LATEST


@given(start=MOMENTS, looks=st.lists(st.integers(1, 100_000), min_size=1, max_size=40))
def test_looking_again_and_again_claims_every_slot_once(start, looks):
    """However long the pauses between two looks are, `all` misses and doubles nothing."""
    last, now, claimed = start, start, []
    for pause_s in looks:
        now += timedelta(seconds=pause_s)
        for slot in due_slots(HOURLY, "all", last=last, now=now):
            claimed.append(slot)
            last = slot

    assert claimed == list(HOURLY.between(start, now))


def test_a_clock_that_was_put_back_claims_nothing_twice():
    """The newest claimed slot lies ahead then."""
    assert due_slots(HOURLY, "all", last=NOW + timedelta(hours=1), now=NOW) == []


def test_a_failed_run_waits_longer_each_time():
    """The pause doubles."""
    assert retry_at(NOW, attempt=1, pause_s=60) == NOW + timedelta(minutes=1)
    assert retry_at(NOW, attempt=3, pause_s=60) == NOW + timedelta(minutes=4)
    assert retry_at(NOW, attempt=2_000, pause_s=60) == NOW + LONGEST_OUTAGE


def test_what_others_read_comes_first():
    """A circle is no reason to hang."""
    depends = {"a": ("c",), "b": (), "c": ("b",), "d": ("e",), "e": ("d",)}

    order = in_order(["a", "b", "c", "d", "e"], depends)

    assert order.index("b") < order.index("c") < order.index("a")
    assert sorted(order) == ["a", "b", "c", "d", "e"]


def test_a_runs_name_in_ray_is_its_job_and_slot():
    """Whoever submits it uses the same name, so that Ray takes it once."""
    assert submission_id("cpi", NOW) == "cpi-20261123T123000Z"
    assert submission_id("cpi", NOW, 2) == "cpi-20261123T123000Z-2"
