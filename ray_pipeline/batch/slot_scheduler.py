"""
Claim the slots that are due and submit a run for each.

A slot is claimed by an INSERT into `job_runs`, so that of several schedulers one claims it; the
submitter starts only claimed runs. A run that was deferred, failed or stopped sending heartbeats is
claimed again when it is due.
"""

import logging
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Protocol

from ray_pipeline.errors import PipelineError
from ray_pipeline.jobs.spec import JobSpec
from ray_pipeline.schedules.due import Waiting, due_slots, in_order, retry_at

log = logging.getLogger(__name__)

START = datetime.min.replace(tzinfo=UTC)


class SlotBook(Protocol):
    """Claims slots; see `storage.postgres.slots.Slots`."""

    async def newest(self) -> dict[str, datetime]:
        """Return each job's newest claimed slot."""

    async def succeeded(self) -> frozenset[str]:
        """Return the jobs that have succeeded at least once."""

    async def at_work(self) -> Sequence[str]:
        """Return the jobs that are claimed or running."""

    async def claim(self, job: str, slot: datetime) -> bool:
        """Claim a slot; False if it is claimed already."""

    async def waiting(self) -> Sequence[Waiting]:
        """Return the runs that may have to be retried."""

    async def claim_again(self, run: Waiting) -> int | None:
        """Claim a run again and return its attempt; None if another scheduler was faster."""

    async def give_up(self, job: str, slot: datetime, why: str) -> None:
        """Record that a claimed run could not be submitted."""

    async def note(self, job: str, slot: datetime, text: str) -> None:
        """Record a remark about the start of a run, for people."""


class Submitter(Protocol):
    """Starts runs in other processes."""

    async def submit(self, job: str, slot: datetime, *, attempt: int) -> str:
        """
        Start a run. Return a remark about how it was started, usually an empty text.

        Raises:
            PipelineError: If it cannot be started.
        """


class Scheduler:
    """Claims and submits due runs, at most `at_once` at a time."""

    def __init__(
        self,
        specs: Sequence[JobSpec],
        slots: SlotBook,
        submitter: Submitter,
        *,
        at_once: int,
        retries: int,
        retry_pause_s: float,
    ) -> None:
        self._specs = {spec.name: spec for spec in specs if not spec.manual}
        self._slots = slots
        self._submitter = submitter
        self._at_once = at_once
        self._retries = retries
        self._retry_pause_s = retry_pause_s

    async def tick(self, now: datetime) -> int:
        """
        Claim and submit due runs while there is room; return how many were submitted.

        Raises:
            DatabaseUnavailable: If Postgres is unavailable; the next tick claims the same slots.
        """
        # Retries come first: a deferred run holds the progress of a slot that is already late.
        busy = list(await self._slots.at_work())
        free = self._at_once - len(busy)
        submitted = 0
        for run in await self._slots.waiting():
            if submitted >= free:
                return submitted
            if run.job in self._specs and run.job not in busy and self._is_retry_due(run, now):
                attempt = await self._slots.claim_again(run)
                # A newer slot of the job may be due in this tick, but the job is at work again.
                busy.append(run.job)
                if attempt is not None:
                    submitted += await self._submit(run.job, run.slot, attempt)
        for job, slot in await self._due(now, busy):
            if submitted >= free:
                return submitted
            if await self._slots.claim(job, slot):
                submitted += await self._submit(job, slot, 1)
        return submitted

    def _is_retry_due(self, run: Waiting, now: datetime) -> bool:
        if run.state == "deferred":
            return run.not_before is not None and run.not_before <= now
        if run.state == "failed":
            due = retry_at(run.finished_at or now, attempt=run.attempt, pause_s=self._retry_pause_s)
            return run.attempt <= self._retries and due <= now
        return True  # claimed or running, but without a heartbeat

    async def _due(self, now: datetime, busy: Sequence[str]) -> list[tuple[str, datetime]]:
        newest = await self._slots.newest()
        succeeded = await self._slots.succeeded()
        slots = {
            name: due_slots(spec.schedule, spec.catch_up, last=newest.get(name), now=now)
            for name, spec in self._specs.items()
        }
        due = {name for name, missed in slots.items() if missed}
        depends = {name: spec.depends for name, spec in self._specs.items()}
        ready = [
            name
            for name in in_order(due, depends)
            if name not in busy and not self._held_back(name, due, busy, succeeded)
        ]
        # New jobs come after overdue ones, and short jobs before long ones: if all jobs are new, a
        # sweep of hours would otherwise delay the first rows of the others.
        return sorted(
            ((name, slots[name][0]) for name in ready),
            key=lambda pair: (
                pair[0] not in newest,
                pair[1] if pair[0] in newest else START,
                self._specs[pair[0]].typical_items if pair[0] not in newest else 0,
                ready.index(pair[0]),
            ),
        )

    def _held_back(
        self, name: str, due: set[str], busy: Sequence[str], succeeded: frozenset[str]
    ) -> bool:
        """Return whether a job waits for inputs that were never collected, but soon will be."""
        return any(
            before not in succeeded and (before in due or before in busy)
            for before in self._specs[name].depends
        )

    async def _submit(self, job: str, slot: datetime, attempt: int) -> int:
        try:
            remark = await self._submitter.submit(job, slot, attempt=attempt)
        except PipelineError as error:
            log.warning("job %s could not be submitted: %s", job, error)
            await self._slots.give_up(job, slot, f"could not be submitted: {error}")
            return 0
        if remark:
            log.warning("job %s, slot %s: %s", job, slot.isoformat(), remark)
            await self._slots.note(job, slot, remark)
        return 1
