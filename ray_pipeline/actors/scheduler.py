"""The scheduler as an actor: a lease in Postgres ensures that one scheduler acts at a time."""

import asyncio
import contextlib
import logging
import os
import random

from ray_pipeline.actors.producer import exit_on_failure
from ray_pipeline.batch.slot_scheduler import Submitter
from ray_pipeline.errors import DatabaseUnavailable
from ray_pipeline.lease import Ownership
from ray_pipeline.services.job_run import holder_name
from ray_pipeline.services.scheduling import schedule
from ray_pipeline.settings import Settings
from ray_pipeline.storage.postgres.leases import Leases
from ray_pipeline.tasks import first_of

log = logging.getLogger(__name__)

NAME = "scheduler"
OUTAGE_PAUSE_S = 2.0


class SchedulerActor:
    """Submits due runs once a second, while it holds the lease."""

    def __init__(self, settings: Settings, submitter: Submitter) -> None:
        self._settings = settings
        self._submitter = submitter
        self._submitted = 0
        self._cause = "starting"
        self._task = asyncio.get_running_loop().create_task(self._run())
        self._task.add_done_callback(exit_on_failure)

    def __repr__(self) -> str:
        return f"Scheduler({self._cause or 'at work'}, {self._submitted} runs submitted)"

    async def _run(self) -> None:
        leases = Leases(self._settings.postgres_dsn())
        try:
            while True:
                await self._hold_lease(leases)
                log.warning("another scheduler has the lease")
        finally:
            await leases.close()

    async def _hold_lease(self, leases: Leases) -> None:
        """Wait for the lease, and submit runs until another scheduler has it."""
        ownership = Ownership(
            leases,
            NAME,
            holder=holder_name(),
            generation=self._settings.ray.generation,
            ttl_s=self._settings.streams.lease_ttl_s,
            random=random.Random(),
        )
        self._cause = "waiting for the lease"
        await ownership.take()
        try:
            await first_of(
                ownership.hold(), ownership.requested.wait(), self._tick_repeatedly(ownership)
            )
        finally:
            await ownership.release()

    async def _tick_repeatedly(self, ownership: Ownership) -> None:
        while True:
            try:
                await schedule(
                    self._settings, self._submitter, may_act=ownership.valid, on_tick=self._ticked
                )
            except DatabaseUnavailable as error:
                self._cause = str(error)
                await asyncio.sleep(OUTAGE_PAUSE_S)

    def _ticked(self, submitted: int) -> None:
        self._submitted += submitted
        self._cause = ""

    async def status(self) -> dict[str, object]:
        """Return the number of submitted runs, and what the scheduler waits for."""
        return {"pid": os.getpid(), "submitted": self._submitted, "cause": self._cause}

    async def stop(self, drain_s: float) -> bool:
        """Release the lease; submitted runs continue."""
        self._task.cancel()
        with contextlib.suppress(TimeoutError, asyncio.CancelledError):
            await asyncio.wait_for(asyncio.gather(self._task, return_exceptions=True), drain_s)
        return True
