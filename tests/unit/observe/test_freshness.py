"""One definition of fresh, from facts."""

from datetime import UTC, datetime, timedelta

import pytest

from ray_pipeline.observe.freshness import (
    FEED_AGE_LIMIT_S,
    FEED_LAG_LIMIT,
    SLOT_GRACE,
    age,
    event_age_limit,
    feed_state,
    lack_of_progress,
    longest_pause,
    missed_slot,
    newest_age,
    table_is_fresh,
)

NOW = datetime(2026, 5, 4, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
SECOND = timedelta(seconds=1)


@pytest.mark.parametrize(
    ("newest_age_s", "lag", "state"),
    [
        (None, 0, "empty"),
        (FEED_AGE_LIMIT_S, FEED_LAG_LIMIT, "fresh"),
        (FEED_AGE_LIMIT_S + 0.1, 0, "quiet"),
        (0.1, FEED_LAG_LIMIT + 1, "behind"),
        (FEED_AGE_LIMIT_S * 2, FEED_LAG_LIMIT + 1, "behind"),
    ],
)
def test_a_feed_is_judged_by_age_and_backlog(newest_age_s, lag, state):
    """The limits themselves are still fresh; a backlog explains an old record."""
    assert feed_state(newest_age_s=newest_age_s, lag=lag) == state


@pytest.mark.parametrize(
    ("ages_s", "reason"),
    [
        ([], "no feed has ever stored a record"),
        ([None, None], "no feed has ever stored a record"),
        ([None, 300.0, 30.0], ""),
        ([300.0, 240.0], "no feed stored a record for 4 min; the limit is 2 min"),
    ],
)
def test_one_feed_that_progresses_is_enough(ages_s, reason):
    """Markets close at different times."""
    assert lack_of_progress(newest_age(ages_s), limit_s=120.0) == reason


def test_a_slot_is_missed_after_the_grace_period():
    """A run that has not ended may still take it."""
    due, earlier = NOW - SLOT_GRACE, NOW - 2 * HOUR

    assert missed_slot(due, last_slot=earlier, ended=True, now=NOW) is None
    assert missed_slot(due, last_slot=earlier, ended=True, now=NOW + SECOND) == due
    assert missed_slot(due, last_slot=earlier, ended=False, now=NOW + SECOND) is None
    assert missed_slot(due, last_slot=due, ended=True, now=NOW + SECOND) is None
    assert missed_slot(None, last_slot=earlier, ended=True, now=NOW) is None


@pytest.mark.parametrize(
    ("limit", "age_s", "fresh"),
    [(None, 1e9, True), (HOUR, None, True), (HOUR, 3600.0, True), (HOUR, 3601.0, False)],
)
def test_a_table_with_a_limit_is_judged_by_its_age(limit, age_s, fresh):
    """Without a limit, or before anything was collected, by its job."""
    assert table_is_fresh(job_is_fresh=True, age_s=age_s, limit=limit) is fresh
    if limit is None:
        assert not table_is_fresh(job_is_fresh=False, age_s=age_s, limit=None)


def test_events_may_be_as_old_as_three_of_their_longest_pauses():
    """Or three periods of the job, if these are longer."""
    events = [NOW, NOW - HOUR, NOW - 4 * HOUR]

    assert longest_pause(events) == 3 * HOUR
    assert longest_pause(events[:2]) is None
    assert event_age_limit(3 * HOUR, period=HOUR) == 9 * HOUR
    assert event_age_limit(HOUR, period=24 * HOUR) == 72 * HOUR


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "never"),
        (-0.2, "0.0 s"),
        (0.44, "0.4 s"),
        (59, "59 s"),
        (180, "3 min"),
        (18_000, "5 h"),
        (200_000, "2 d"),
    ],
)
def test_an_age_is_told_in_the_unit_that_fits(seconds, text):
    """Short ages with a decimal, long ages without."""
    assert age(seconds) == text
