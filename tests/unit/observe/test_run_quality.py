"""What is odd about a run: half of the usual rows, or a newest event that is too old."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import pytest

from ray_pipeline.jobs.spec import JobSpec
from ray_pipeline.jobs.table import Table
from ray_pipeline.observe.run_quality import RunSize, few_rows, stale
from ray_pipeline.providers.quota import DAY, HOUR
from ray_pipeline.schedules.cron import Cron

SLOT = datetime(2026, 11, 23, 6, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class News:
    url: str
    published_at: datetime


TABLE = Table("news", News, key=("url",), event="published_at")
SPEC = JobSpec("news", "News", (TABLE,), Cron("0 6 * * *"))
SWEEP = replace(SPEC, refresh=DAY)


def sizes(*rows: int, items: int = 1) -> list[RunSize]:
    return [RunSize(count, items) for count in rows]


@pytest.mark.parametrize(
    ("rows", "before", "found"),
    [
        (50, sizes(100, 100, 100), False),
        (49, sizes(100, 100, 100), True),
        (0, sizes(480, 500, 470, 0, 510), True),  # one bad run before does not make it usual
        (0, sizes(100, 100), False),  # nothing is usual yet
        (0, sizes(3, 12, 19), False),  # a job of a few rows
        (0, [], False),
    ],
)
def test_less_than_half_of_the_median_is_a_finding(rows, before, found):
    assert (few_rows(SPEC, RunSize(rows, 1), before) is not None) is found


def test_the_finding_says_both_numbers():
    finding = few_rows(SPEC, RunSize(12, 1), sizes(100, 120, 140))

    assert finding is not None
    assert (finding.table, finding.check) == ("news", "count")
    assert finding.detail == "12 rows; the median of the last 3 runs is 120"


@pytest.mark.parametrize(("rows", "items", "found"), [(45, 5, False), (20, 5, True), (0, 0, False)])
def test_a_sweeps_rows_are_counted_by_the_item(rows, items, found):
    """Its last run of a cycle has a few items only: that is not odd, their having no rows is."""
    before = sizes(200, 180, 210, items=20)

    assert (few_rows(SWEEP, RunSize(rows, items), before) is not None) is found


def events(newest_before: timedelta, *pauses: timedelta) -> list[datetime]:
    moments = [SLOT - newest_before]
    for pause in pauses:
        moments.append(moments[-1] - pause)
    return moments


@pytest.mark.parametrize(
    ("moments", "found"),
    [
        (events(2 * DAY, HOUR, HOUR), False),  # a daily job: three days are allowed
        (events(4 * DAY, HOUR, HOUR), True),
        (events(4 * DAY, HOUR, 2 * DAY, HOUR), False),  # it has paused for two days before
        (events(7 * DAY, HOUR, 2 * DAY, HOUR), True),
        (events(-DAY / 2, HOUR, HOUR), False),
        (events(90 * DAY, HOUR), False),  # nothing is usual yet
        ([], False),
    ],
)
def test_an_old_newest_event_is_a_finding(moments, found):
    """Three times the longest pause or the job's period, whichever is longer."""
    assert (stale(TABLE, moments, slot=SLOT, period=DAY) is not None) is found


def test_the_finding_says_how_old_and_what_is_usual():
    finding = stale(TABLE, events(10 * DAY, 6 * HOUR, 3 * HOUR), slot=SLOT, period=DAY)

    assert finding is not None
    assert (finding.table, finding.check) == ("news", "freshness")
    assert finding.detail == (
        "the newest published_at is 2026-11-13 06:00 UTC, 10.0 days before the slot; "
        "the longest pause before it was 6.0 hours"
    )
