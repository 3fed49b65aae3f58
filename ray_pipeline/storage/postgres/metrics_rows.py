"""The metrics that come from Postgres rather than from an actor."""

from collections.abc import Iterator

from ray_pipeline.observe.metrics import Sample, status_metrics
from ray_pipeline.settings import Settings
from ray_pipeline.storage.postgres.clock_jumps import read_clock_jumps
from ray_pipeline.storage.postgres.connection import session
from ray_pipeline.storage.postgres.gap_rows import count_gaps
from ray_pipeline.storage.postgres.quota_rows import QuotaRow, read_quotas
from ray_pipeline.storage.postgres.status_rows import read_status

RUNS = """
    SELECT job, state, count(*) FROM job_runs WHERE finished_at IS NOT NULL GROUP BY job, state
"""


async def read_metrics(settings: Settings) -> list[Sample]:
    """
    Return the current samples; keys are labelled by their fingerprints.

    Raises:
        DatabaseUnavailable: If Postgres cannot be reached.
    """
    async with session(settings.postgres_dsn(), name="samples") as connection:
        page = await read_status(connection, settings, stream_keys=settings.stream_key_counts())
        quotas = await read_quotas(
            connection, settings.key_fingerprints(), speed=settings.jobs.speed
        )
        jumps = await read_clock_jumps(connection)
        gaps = await count_gaps(connection)
        runs = await (await connection.execute(RUNS)).fetchall()
    return [
        *status_metrics(page),
        *(sample for row in quotas for sample in _quota(row)),
        Sample("pipeline_quota_clock_jump_seconds", jumps[0].jump_s if jumps else 0.0, {}),
        *(Sample("pipeline_gaps", count, {"feed": feed}) for feed, count in gaps.items()),
        *(
            Sample("pipeline_runs", count, {"job": job, "state": state})
            for job, state, count in runs
        ),
    ]


def _quota(row: QuotaRow) -> Iterator[Sample]:
    tags = {"provider": row.provider, "key": row.key, "window": row.window}
    limit = row.used + row.left
    yield Sample("pipeline_quota_used_ratio", row.used / limit if limit else 1.0, tags)
    yield Sample("pipeline_quota_left", row.left, tags)
