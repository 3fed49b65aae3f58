"""Which slots are due: a pure function of the schedule, of what was claimed before, and of now."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from ray_pipeline.schedules.cron import Cron
from ray_pipeline.timestamps import shifted

MISSED_LIMIT = 100  # slots of one job that are made up for at once
LONGEST_OUTAGE = timedelta(days=1500)  # slots before it are not looked for, one by one
PUNCTUAL = timedelta(minutes=10)  # how late a slot may be for which there is no catch-up


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
        schedule: When.
        catch_up: What to do about slots that nobody could claim when they were due: forget them
            (none), make up for the last one (latest), or for every one (all).
        last: The newest slot that was ever claimed; None for a new job, which begins with the
            latest slot whatever its policy: nothing was missed yet, and nothing is there yet.
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
    """Return when a failed run is tried again: the pause doubles with every attempt."""
    return shifted(finished_at, timedelta(seconds=pause_s * 2.0 ** (attempt - 1)))


def in_order(names: Iterable[str], depends: dict[str, tuple[str, ...]]) -> list[str]:
    """Return jobs so that each comes after those it depends on, else by name."""
    wanted = sorted(set(names))
    done: list[str] = []

    def visit(name: str, path: tuple[str, ...]) -> None:
        if name in done or name in path:
            return
        for before in depends.get(name, ()):
            if before in wanted:
                visit(before, (*path, name))
        done.append(name)

    for name in wanted:
        visit(name, ())
    return done


@dataclass(frozen=True, slots=True)
class Waiting:
    """A run that did not end well, or fell silent."""

    job: str
    slot: datetime
    attempt: int
    state: str
    finished_at: datetime | None
    not_before: datetime | None


def submission_id(job: str, slot: datetime, attempt: int = 1) -> str:
    """Return the name of a run in Ray: the same one whoever submits it, so that Ray takes one."""
    text = f"{job}-{slot:%Y%m%dT%H%M%SZ}"
    return text if attempt == 1 else f"{text}-{attempt}"
