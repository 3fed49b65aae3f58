"""
Claim the slots that are due, and have each run once.

Postgres decides who runs a slot; the submitter only starts what was claimed. A run that was
deferred, failed or fell silent is claimed again when its time has come.
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
    """Where slots are claimed; see `storage.postgres.slots.Slots`."""

    async def newest(self) -> dict[str, datetime]:
        """Return each job's newest claimed slot."""

    async def succeeded(self) -> frozenset[str]:
        """Return the jobs that have ended well at least once."""

    async def at_work(self) -> Sequence[str]:
        """Return the jobs that are claimed or running."""

    async def claim(self, job: str, slot: datetime) -> bool:
        """Claim a slot; False if it is claimed already."""

    async def waiting(self) -> Sequence[Waiting]:
        """Return the runs that may have to be tried again."""

    async def claim_again(self, run: Waiting) -> int | None:
        """Claim a run anew; None if somebody else was faster."""

    async def give_up(self, job: str, slot: datetime, why: str) -> None:
        """Write down that a claimed run could not be submitted."""

    async def note(self, job: str, slot: datetime, text: str) -> None:
        """Write down what a person should know of how a run was started."""


class Submitter(Protocol):
    """Starts runs somewhere else."""

    async def submit(self, job: str, slot: datetime, *, attempt: int) -> str:
        """
        Start a run. Return what a person should know of how it was started, mostly nothing.

        Raises:
            PipelineError: If it cannot be started.
        """


class Scheduler:
    """One look at the clock after the other."""

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
        Claim and submit what is due, as much as may run at once; return how many were submitted.

        Raises:
            DatabaseUnavailable: If Postgres is away; nothing is lost, the next look finds it.
        """
        busy = list(await self._slots.at_work())
        free = self._at_once - len(busy)
        submitted = 0
        for run in await self._slots.waiting():
            if submitted >= free:
                return submitted
            if run.job in self._specs and run.job not in busy and self._again(run, now):
                attempt = await self._slots.claim_again(run)
                if attempt is not None:
                    submitted += await self._submit(run.job, run.slot, attempt)
        for job, slot in await self._due(now, busy):
            if submitted >= free:
                return submitted
            if await self._slots.claim(job, slot):
                submitted += await self._submit(job, slot, 1)
        return submitted

    def _again(self, run: Waiting, now: datetime) -> bool:
        if run.state == "deferred":
            return run.not_before is not None and run.not_before <= now
        if run.state == "failed":
            due = retry_at(run.finished_at or now, attempt=run.attempt, pause_s=self._retry_pause_s)
            return run.attempt <= self._retries and due <= now
        return True  # it fell silent

    async def _due(self, now: datetime, busy: Sequence[str]) -> list[tuple[str, datetime]]:
        newest = await self._slots.newest()
        succeeded = await self._slots.succeeded()
        slots = {
            name: due_slots(spec.schedule, spec.catch_up, last=newest.get(name), now=now)
            for name, spec in self._specs.items()
        }
        due = {name for name, some in slots.items() if some}
        depends = {name: spec.depends for name, spec in self._specs.items()}
        ready = [
            name
            for name in in_order(due, depends)
            if name not in busy and not self._held_back(name, due, busy, succeeded)
        ]
        # What never ran comes after what is overdue, and the short before the long: where all jobs
        # are new, a sweep of hours would keep the others from their first rows.
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
        """A job whose inputs have never been collected waits for them, if they are on their way."""
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
