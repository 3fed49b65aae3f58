"""
Check each slot of each scheduled job: due slots have exactly one run, and it ended.

Some jobs run every minute and make up for every missed slot, so that a run of a few minutes has
slots to miss and to double. The other jobs keep their schedules: their latest slot is due at once.

Two records are independent of the pipeline's own: the schedulers' log of the runs that they
started, and a table that a trigger fills each time that a run is stored as successful.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from ray_pipeline.catalog import all_jobs
from ray_pipeline.jobs.spec import JobSpec
from ray_pipeline.schedules.cron import Cron
from ray_pipeline.services.process_submitter import ProcessSubmitter

EVERY_MINUTE = ("coingecko_derivatives", "truth_social_trends")
AS_SCHEDULED = (
    "sp500_companies",
    "etf_basic_info",
    "top_gainers",
    "truth_social_tags",
    "x_user_profiles",
)
GREEN = frozenset({"succeeded", "nothing_new"})
RETRIES = 3
ENDS = (
    "CREATE TABLE chaos_successes (job text, slot timestamptz)",
    "CREATE FUNCTION chaos_success() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
    "INSERT INTO chaos_successes VALUES (NEW.job, NEW.slot); RETURN NULL; END $$",
    "CREATE TRIGGER chaos_success AFTER UPDATE ON job_runs FOR EACH ROW "
    "WHEN (NEW.state IN ('succeeded', 'nothing_new') AND OLD.state = 'running') "
    "EXECUTE FUNCTION chaos_success()",
)
RUNS = """
    SELECT job, slot, state, attempt, why, not_before FROM job_runs
    WHERE trigger = 'schedule' ORDER BY job, slot
"""
SUCCESSES = "SELECT job, slot, count(*) FROM chaos_successes GROUP BY job, slot"


@dataclass(frozen=True, slots=True)
class SlotRun:
    """A row of `job_runs` that a scheduler has claimed."""

    job: str
    slot: datetime
    state: str
    attempt: int
    why: str
    not_before: datetime | None

    def __str__(self) -> str:
        return f"{self.job} {self.slot:%H:%M} (attempt {self.attempt}, {self.state} {self.why})"


@dataclass(frozen=True, slots=True)
class Start:
    """A run that a scheduler started."""

    job: str
    slot: datetime
    attempt: int


class LoggedSubmitter(ProcessSubmitter):
    """Starts runs as processes, and logs each start."""

    def __init__(self, variables: Mapping[str, str], log: Path) -> None:
        super().__init__(variables)
        self._log = log

    async def submit(self, job: str, slot: datetime, *, attempt: int) -> str:
        """Log a start, then start the run."""
        with self._log.open("a", encoding="utf-8") as log:
            log.write(f"{job} {slot.astimezone(UTC).isoformat()} {attempt}\n")
        return await super().submit(job, slot, attempt=attempt)


def scheduled_jobs() -> tuple[JobSpec, ...]:
    """Return the jobs that the schedulers of a chaos run know."""
    minutely = [
        replace(spec, schedule=Cron("* * * * *"), catch_up="all")
        for spec in all_jobs()
        if spec.name in EVERY_MINUTE
    ]
    return (*minutely, *(spec for spec in all_jobs() if spec.name in AS_SCHEDULED))


def read_starts(log: Path) -> list[Start]:
    """Return the starts in a log."""
    lines = log.read_text(encoding="utf-8").splitlines() if log.exists() else []
    fields = (line.split() for line in lines)
    return [Start(job, datetime.fromisoformat(slot), int(attempt)) for job, slot, attempt in fields]


def due(runs: Sequence[SlotRun], *, until: datetime) -> dict[str, list[datetime]]:
    """
    Return the slots of each job that were due until a moment.

    A job begins with the latest slot at its start. After that, each slot counts if the job makes up
    for missed slots; otherwise only the newest does.
    """
    slots: dict[str, list[datetime]] = {}
    for spec in scheduled_jobs():
        own = [run.slot for run in runs if run.job == spec.name]
        latest = spec.schedule.latest(until)
        if spec.catch_up == "all" and own:
            slots[spec.name] = [min(own), *spec.schedule.between(min(own), until)]
        elif latest is not None:
            slots[spec.name] = [latest]
    return slots


def unfinished(runs: Sequence[SlotRun], *, until: datetime, now: datetime) -> list[str]:
    """Return a text for each slot that was due and has no run, or a run that has not ended."""
    by_slot = {(run.job, run.slot): run for run in runs}
    newest = {run.job: run.slot for run in runs}  # they are in the order of their slots
    texts = [
        f"{job} {slot:%H:%M} has no run"
        for job, slots in due(runs, until=until).items()
        for slot in slots
        if (job, slot) not in by_slot
    ]
    texts += [
        f"{run} has not ended"
        for run in runs
        # Later slots become due while these are waited for, or a clock that is ahead claims them.
        if run.slot <= until and not _has_ended(run, is_newest=run.slot == newest[run.job], now=now)
    ]
    return texts


def _has_ended(run: SlotRun, *, is_newest: bool, now: datetime) -> bool:
    if run.state in GREEN:
        return True
    if run.state not in {"refused", "failed", "deferred"} or not run.why:
        return False
    # A newer slot of the job replaces a run that would be tried again.
    if run.state == "failed" and is_newest:
        return run.attempt > RETRIES
    if run.state == "deferred" and is_newest:
        return run.not_before is not None and run.not_before > now
    return True


def doubled(
    starts: Sequence[Start], successes: Mapping[tuple[str, datetime], int]
) -> Iterator[str]:
    """Yield a text for each start that happened twice, and each slot that succeeded twice."""
    for start, count in Counter(starts).items():
        if count > 1:
            yield f"{start.job} {start.slot:%H:%M}, attempt {start.attempt}: started {count} times"
    for (job, slot), count in successes.items():
        if count > 1:
            yield f"{job} {slot:%H:%M} succeeded {count} times"
