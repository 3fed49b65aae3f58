"""The figures that only Postgres knows."""

from collections.abc import Iterator

from ray_pipeline.flows.figures import Figure, status_figures
from ray_pipeline.io.collect_job import fingerprints
from ray_pipeline.io.postgres import session
from ray_pipeline.io.quotas import QuotaRow, read_quotas
from ray_pipeline.io.status import status_on
from ray_pipeline.settings import Settings

GAPS = "SELECT feed, count(*) FROM gaps GROUP BY feed"
RUNS = """
    SELECT job, state, count(*) FROM job_runs WHERE finished_at IS NOT NULL GROUP BY job, state
"""


async def read_figures(settings: Settings) -> list[Figure]:
    """
    Return what the stores say in numbers; keys are told by their fingerprints.

    Raises:
        DatabaseUnavailable: If Postgres cannot be reached.
    """
    async with session(settings.postgres_dsn(), name="figures") as connection:
        page = await status_on(connection, finnhub_keys=len(settings.stream_keys()))
        quotas = await read_quotas(connection, fingerprints(settings), speed=settings.jobs.speed)
        gaps = await (await connection.execute(GAPS)).fetchall()
        runs = await (await connection.execute(RUNS)).fetchall()
    return [
        *status_figures(page),
        *(figure for row in quotas for figure in _quota(row)),
        *(Figure("pipeline_gaps", count, {"feed": feed}) for feed, count in gaps),
        *(
            Figure("pipeline_runs", count, {"job": job, "state": state})
            for job, state, count in runs
        ),
    ]


def _quota(row: QuotaRow) -> Iterator[Figure]:
    tags = {"provider": row.provider, "key": row.key, "window": row.window}
    limit = row.used + row.left
    yield Figure("pipeline_quota_used_ratio", row.used / limit if limit else 1.0, tags)
    yield Figure("pipeline_quota_left", row.left, tags)
