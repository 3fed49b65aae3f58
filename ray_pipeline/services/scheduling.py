"""Run the scheduler of batch jobs: which jobs it schedules, and its loop."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from ray_pipeline.batch.slot_scheduler import Scheduler, Submitter
from ray_pipeline.catalog import all_jobs
from ray_pipeline.errors import PipelineError
from ray_pipeline.jobs.spec import JobSpec
from ray_pipeline.settings import Settings
from ray_pipeline.storage.postgres.connection import session
from ray_pipeline.storage.postgres.slots import Slots

TICK_S = 1.0


def scheduled(settings: Settings) -> list[JobSpec]:
    """
    Return the jobs that the scheduler runs: all jobs, or those that the settings select.

    Raises:
        PipelineError: If the settings name a job that does not exist.
    """
    specs = {spec.name: spec for spec in all_jobs()}
    for name in settings.jobs.only:
        if name not in specs:
            raise PipelineError(
                f"PIPELINE_JOBS__ONLY names {name!r}, which is no job",
                fix="`ray-pipeline jobs` lists them",
            )
    return [
        spec for name, spec in specs.items() if not settings.jobs.only or name in settings.jobs.only
    ]


async def schedule(
    settings: Settings,
    submitter: Submitter,
    *,
    may_act: Callable[[], bool],
    on_tick: Callable[[int], None],
) -> None:
    """
    Submit due runs once a second, until cancelled.

    Args:
        settings: The settings.
        submitter: Starts the runs.
        may_act: Returns whether this process still holds the scheduler's lease.
        on_tick: Called after each tick with the number of submitted runs.

    Raises:
        DatabaseUnavailable: If Postgres is unavailable; call again, nothing is lost.
    """
    jobs = settings.jobs
    async with session(settings.postgres_dsn(), name="scheduler") as connection:
        scheduler = Scheduler(
            scheduled(settings),
            Slots(connection, takeover=timedelta(seconds=jobs.takeover_s)),
            submitter,
            at_once=jobs.at_once,
            retries=jobs.retries,
            retry_pause_s=jobs.retry_pause_s,
        )
        while True:
            if may_act():
                on_tick(await scheduler.tick(datetime.now(UTC)))
            await asyncio.sleep(TICK_S)
