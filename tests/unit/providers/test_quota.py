"""Windows of a quota, and the sum of a year."""

from datetime import UTC, datetime, time, timedelta

from hypothesis import given
from hypothesis import strategies as st

from ray_pipeline.providers.quota import DAY, MINUTE, Quota, Window, overruns

NEW_YORK = "America/New_York"
MOMENTS = st.datetimes(
    datetime(2024, 1, 1),
    datetime(2028, 1, 1),
    timezones=st.just(UTC),
)
WINDOWS = st.builds(
    Window,
    limit=st.integers(1, 50),
    reset=st.sampled_from(["day", "month"]),
    zone=st.sampled_from(["UTC", NEW_YORK, "Asia/Seoul"]),
    at=st.builds(time, st.integers(0, 23)),
)


@given(window=WINDOWS, moment=MOMENTS)
def test_every_moment_is_in_one_window(window, moment):
    """It began before or now, it ends later, and the next one begins where it ends."""
    start, end = window.start(moment), window.end(moment)

    assert start <= moment < end
    assert window.start(end) == end
    assert window.start(end - timedelta(microseconds=1)) == start


def test_a_day_begins_at_midnight_of_the_providers_zone():
    """Alpha Vantage's 25 calls begin anew when New York's day does."""
    window = Window(25, reset="day", zone=NEW_YORK)

    assert window.start(datetime(2026, 7, 1, 3, tzinfo=UTC)) == datetime(2026, 6, 30, 4, tzinfo=UTC)
    assert window.end(datetime(2026, 11, 1, 12, tzinfo=UTC)) == datetime(2026, 11, 2, 5, tzinfo=UTC)


@given(calls=st.lists(st.tuples(MOMENTS, st.integers(1, 9)), max_size=60), keys=st.integers(1, 3))
def test_an_overrun_is_reported_if_and_only_if_there_is_one(calls, keys):
    """Counted here the slow way."""
    window = Window(10, reset="day")
    calls = sorted(calls)

    found = {one.start: one.calls for one in overruns(window, calls, keys=keys)}

    by_day: dict[datetime, int] = {}
    for moment, count in calls:
        day = moment.replace(hour=0, minute=0, second=0, microsecond=0)
        by_day[day] = by_day.get(day, 0) + count
    assert found == {day: count for day, count in by_day.items() if count > 10 * keys}


def test_a_faster_world_has_shorter_windows():
    """As a demo's: a day's quota then slides over minutes."""
    quota = Quota((Window(5, MINUTE), Window(25, reset="day"))).scaled(60)

    assert [window.period for window in quota.windows] == [MINUTE / 60, DAY / 60]
    assert {window.reset for window in quota.windows} == {"sliding"}


def test_a_window_is_called_by_a_length_that_a_person_reads():
    names = [
        Window(25, reset="day").name,
        Window(5, timedelta(seconds=60.8)).name,
        Window(1, timedelta(minutes=15.17)).name,
        Window(2000, timedelta(seconds=3636.2)).name,
        Window(10, 30 * DAY).name,
        Window(1, timedelta(microseconds=121)).name,
    ]

    assert names == ["25/day", "5/60.8s", "1/15.2min", "2000/60.6min", "10/30d", "1/0.121ms"]
