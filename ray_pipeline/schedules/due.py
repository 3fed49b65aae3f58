"""Decide which slots are due: pure functions of the schedule, the claimed slots and the time."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from ray_pipeline.retry import doubled_s
from ray_pipeline.schedules.cron import Cron
from ray_pipeline.timestamps import shifted

MISSED_LIMIT = 100  # most missed slots of a job that are claimed at once
LONGEST_OUTAGE = timedelta(days=1500)  # bounds the search for missed slots
PUNCTUAL = timedelta(minutes=10)  # how late a slot may be for a job without catch-up


def due_slots(
    schedule: Cron,
    catch_up: Literal["none", "latest", "all"],
    *,
    last: datetime | None,
    now: datetime,
) -> list[datetime]:
    """
    Return the slots to claim, oldest first, in UTC.

    Args:
        schedule: The schedule.
        catch_up: Which missed slots to claim: none, only the latest, or all of them.
        last: The newest claimed slot; None for a new job, which begins with the latest slot
            whatever its policy, because its tables are still empty.
        now: The time.
    """
    if last is None:
        latest = schedule.latest(now)
        return [latest] if latest is not None else []
    missed = list(schedule.between(max(last, now - LONGEST_OUTAGE), now)) if last < now else []
    if catch_up == "all":
        return missed[-MISSED_LIMIT:]
    if catch_up == "none":
        missed = [slot for slot in missed if now - slot <= PUNCTUAL]
    return missed[-1:]


def retry_at(finished_at: datetime, *, attempt: int, pause_s: float) -> datetime:
    """Return when a failed run is retried: the pause doubles with every attempt."""
    longest_s = LONGEST_OUTAGE.total_seconds()  # a longer timedelta would overflow in the end
    pause = timedelta(seconds=min(doubled_s(pause_s, attempt - 1), longest_s))
    return shifted(finished_at, pause)


def in_order(names: Iterable[str], depends: dict[str, tuple[str, ...]]) -> list[str]:
    """Return jobs by name, but each after the jobs on which it depends."""
    due = sorted(set(names))
    ordered: list[str] = []

    def visit(name: str, path: tuple[str, ...]) -> None:
        if name in ordered or name in path:  # in path: a cycle, which is broken here
            return
        for before in depends.get(name, ()):
            if before in due:
                visit(before, (*path, name))
        ordered.append(name)

    for name in due:
        visit(name, ())
    return ordered


@dataclass(frozen=True, slots=True)
class Waiting:
    """A run that failed, was deferred, or stopped sending heartbeats."""

    job: str
    slot: datetime
    attempt: int
    state: str
    finished_at: datetime | None
    not_before: datetime | None


def submission_id(job: str, slot: datetime, attempt: int = 1) -> str:
    """Return the name of a run in Ray: always the same, so that Ray accepts it only once."""
    text = f"{job}-{slot:%Y%m%dT%H%M%SZ}"
    return text if attempt == 1 else f"{text}-{attempt}"
