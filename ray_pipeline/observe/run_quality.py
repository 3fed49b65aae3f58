"""Findings about a whole run: far fewer rows than usual, or no new event for too long."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from ray_pipeline.jobs.spec import JobSpec
from ray_pipeline.jobs.table import Table, TableFinding
from ray_pipeline.observe.freshness import event_age_limit, longest_pause

RUNS = 7  # the median of the last runs is the usual number of rows
FEWEST_RUNS = 3  # fewer runs do not define what is usual
FEWEST_ROWS = 20  # a job of a few rows often has an empty run
LEAST_PART = 0.5


@dataclass(frozen=True, slots=True)
class RunSize:
    """The rows and items of a run."""

    rows: int
    items: int


def few_rows(spec: JobSpec, ran: RunSize, before: Sequence[RunSize]) -> TableFinding | None:
    """
    Return a finding if a run has less than half of the usual number of rows.

    The runs of a sweep differ in their number of items, so its rows are compared for each item.

    Args:
        spec: The job.
        ran: The run.
        before: Its last successful runs.
    """
    if spec.sweep:
        before = [size for size in before if size.items]
    if len(before) < FEWEST_RUNS or (spec.sweep and not ran.items):
        return None
    usual = statistics.median(_expected(spec, size, ran.items) for size in before)
    if usual < FEWEST_ROWS or ran.rows >= usual * LEAST_PART:
        return None
    per = f" for {ran.items} items" if spec.sweep else ""
    return TableFinding(
        spec.tables[0].name,
        "count",
        f"{ran.rows} rows{per}; the median of the last {len(before)} runs is {usual:g}",
    )


def _expected(spec: JobSpec, size: RunSize, items: int) -> float:
    """Return the rows of a run; for a sweep, scaled to this number of items."""
    return size.rows / size.items * items if spec.sweep else size.rows


def stale(
    table: Table, events: Sequence[datetime], *, slot: datetime, period: timedelta
) -> TableFinding | None:
    """
    Return a finding if a table's newest event is older than is usual for it.

    `observe.freshness` decides which pauses are usual and which are too long.

    Args:
        table: The table.
        events: The times of the newest events, newest first, without repetition.
        slot: The run's slot.
        period: From this slot to the next.
    """
    pause = longest_pause(events)
    if pause is None:
        return None
    age = slot - events[0]
    if age <= event_age_limit(pause, period=period):
        return None
    return TableFinding(
        table.name,
        "freshness",
        f"the newest {table.event} is {events[0]:%Y-%m-%d %H:%M} UTC, {_text(age)} before the "
        f"slot; the longest pause before it was {_text(pause)}",
    )


def _text(span: timedelta) -> str:
    hours = span.total_seconds() / 3600
    return f"{hours:.1f} hours" if hours < 48 else f"{hours / 24:.1f} days"
