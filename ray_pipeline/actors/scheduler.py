"""The scheduler as an actor: one in the world at a time, under a lease."""

import asyncio
import contextlib
import logging
import os
import random
from datetime import UTC, datetime, timedelta

from ray_pipeline.actors.producer import leave
from ray_pipeline.batch.slot_scheduler import Scheduler, Submitter
from ray_pipeline.catalog import all_jobs
from ray_pipeline.errors import DatabaseUnavailable, PipelineError
from ray_pipeline.jobs.spec import JobSpec
from ray_pipeline.lease import Ownership
from ray_pipeline.services.job_run import holder_name
from ray_pipeline.settings import Settings
from ray_pipeline.storage.postgres.connection import session
from ray_pipeline.storage.postgres.leases import Leases
from ray_pipeline.storage.postgres.slots import Slots
from ray_pipeline.tasks import first_of

log = logging.getLogger(__name__)

NAME = "scheduler"
TICK_S = 1.0
OUTAGE_PAUSE_S = 2.0


def scheduled(settings: Settings) -> list[JobSpec]:
    """
    Return the jobs that are to run by themselves.

    Raises:
        PipelineError: If the settings name one that does not exist.
    """
    specs = all_jobs()
    if not settings.jobs.only:
        return list(specs)
    names = {spec.name for spec in specs}
    for name in settings.jobs.only:
        if name not in names:
            raise PipelineError(
                f"PIPELINE_JOBS__ONLY names {name!r}, which is no job",
                fix="`ray-pipeline jobs` lists them",
            )
    return [spec for spec in specs if spec.name in settings.jobs.only]


class SchedulerActor:
    """Looks at the clock once a second, while it holds the lease."""

    def __init__(self, settings: Settings, submitter: Submitter) -> None:
        self._settings = settings
        self._submitter = submitter
        self._submitted = 0
        self._cause = "starting"
        self._task = asyncio.get_running_loop().create_task(self._run())
        self._task.add_done_callback(leave)

    def __repr__(self) -> str:
        return f"Scheduler({self._cause or 'at work'}, {self._submitted} runs submitted)"

    async def _run(self) -> None:
        leases = Leases(self._settings.postgres_dsn())
        while True:
            own = Ownership(
                leases,
                NAME,
                holder=holder_name(),
                generation=self._settings.ray.generation,
                ttl_s=self._settings.streams.lease_ttl_s,
                random=random.Random(),
            )
            self._cause = "waiting for the lease"
            await own.take()
            try:
                await first_of(own.hold(), own.requested.wait(), self._tick_for_ever(own))
            finally:
                await own.release()
            log.warning("another scheduler has the lease")

    async def _tick_for_ever(self, own: Ownership) -> None:
        jobs = self._settings.jobs
        while True:
            try:
                async with session(self._settings.postgres_dsn(), name=NAME) as connection:
                    slots = Slots(connection, takeover=timedelta(seconds=jobs.takeover_s))
                    scheduler = Scheduler(
                        scheduled(self._settings),
                        slots,
                        self._submitter,
                        at_once=jobs.at_once,
                        retries=jobs.retries,
                        retry_pause_s=jobs.retry_pause_s,
                    )
                    while True:
                        if own.valid():
                            self._submitted += await scheduler.tick(datetime.now(UTC))
                            self._cause = ""
                        await asyncio.sleep(TICK_S)
            except DatabaseUnavailable as error:
                self._cause = str(error)
                await asyncio.sleep(OUTAGE_PAUSE_S)

    async def status(self) -> dict[str, object]:
        """Return what it has done, and what it waits for."""
        return {"pid": os.getpid(), "submitted": self._submitted, "cause": self._cause}

    async def stop(self, drain_s: float) -> bool:
        """Give the lease back; runs that were submitted go on."""
        self._task.cancel()
        with contextlib.suppress(TimeoutError, asyncio.CancelledError):
            await asyncio.wait_for(asyncio.gather(self._task, return_exceptions=True), drain_s)
        return True
