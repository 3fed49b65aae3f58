"""What is odd about a run as a whole: far fewer rows than usual, or nothing new for too long."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise

from ray_pipeline.jobs.spec import JobSpec
from ray_pipeline.jobs.table import Finding, Table

RUNS = 7  # whose median is what is usual
FEWEST_RUNS = 3  # before nothing is usual yet
FEWEST_ROWS = 20  # a job of a few rows has none on many a day
LEAST_PART = 0.5
FEWEST_EVENTS = 3
LONGEST_PAUSES = 3


@dataclass(frozen=True, slots=True)
class Size:
    """How much a run brought."""

    rows: int
    items: int


def few_rows(spec: JobSpec, ran: Size, before: Sequence[Size]) -> Finding | None:
    """
    Return a finding if a run brought less than half of what is usual.

    A sweep's runs have more items or fewer: its rows are counted by the item.

    Args:
        spec: The job.
        ran: The run.
        before: Its last runs that ended well.
    """
    if spec.sweep:
        before = [size for size in before if size.items]
    if len(before) < FEWEST_RUNS or (spec.sweep and not ran.items):
        return None
    usual = statistics.median(_expected(spec, size, ran.items) for size in before)
    if usual < FEWEST_ROWS or ran.rows >= usual * LEAST_PART:
        return None
    per = f" for {ran.items} items" if spec.sweep else ""
    return Finding(
        spec.tables[0].name,
        "count",
        f"{ran.rows} rows{per}; the median of the last {len(before)} runs is {usual:g}",
    )


def _expected(spec: JobSpec, size: Size, items: int) -> float:
    """Return the rows of a run, or of a sweep's if it had had so many items."""
    return size.rows / size.items * items if spec.sweep else size.rows


def stale(
    table: Table, events: Sequence[datetime], *, slot: datetime, period: timedelta
) -> Finding | None:
    """
    Return a finding if a table's newest event is older than is usual for it.

    Usual is the longest pause between its last events, or the job's period if that is longer;
    three times as long is too long.

    Args:
        table: The table.
        events: When the events that its last rows tell of happened, newest first, each once.
        slot: The run's slot.
        period: From this slot to the next.
    """
    if len(events) < FEWEST_EVENTS:
        return None
    pause = max(newer - older for newer, older in pairwise(events))
    age = slot - events[0]
    if age <= LONGEST_PAUSES * max(pause, period):
        return None
    return Finding(
        table.name,
        "freshness",
        f"the newest {table.event} is {events[0]:%Y-%m-%d %H:%M} UTC, {_text(age)} before the "
        f"slot; the longest pause before it was {_text(pause)}",
    )


def _text(span: timedelta) -> str:
    hours = span.total_seconds() / 3600
    return f"{hours:.1f} hours" if hours < 48 else f"{hours / 24:.1f} days"
