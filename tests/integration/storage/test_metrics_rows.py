"""The samples that come from Postgres."""

import pytest

from ray_pipeline.settings import Settings, load
from ray_pipeline.storage.postgres.connection import session
from ray_pipeline.storage.postgres.metrics_rows import read_metrics

KEY = "0123456789abcdef-secret"


@pytest.fixture
async def settings(postgres_dsn) -> Settings:
    async with session(postgres_dsn, name="test") as connection:
        await connection.execute(
            "INSERT INTO gaps (feed, shard, epoch, kind, cause) VALUES "
            "('sp500', 1, 1, 'disconnected', 'x'), ('sp500', 1, 1, 'stalled', 'y')"
        )
        await connection.execute(
            "INSERT INTO job_runs (job, slot, state, trigger, finished_at) VALUES "
            "('cpi', now(), 'succeeded', 'schedule', now()), "
            "('cpi', now() - interval '1 d', 'succeeded', 'schedule', now()), "
            "('cpi', now() - interval '2 d', 'running', 'schedule', NULL)"
        )
    return load(postgres={"dsn": postgres_dsn}, api_keys={"alpha_vantage": [KEY]})


async def test_gaps_and_finished_runs_are_counted(settings):
    """A run that is still in progress is not counted."""
    samples = {
        (sample.metric, *sorted(sample.tags.values())): sample.value
        for sample in await read_metrics(settings)
    }

    assert samples["pipeline_gaps", "sp500"] == 2
    assert samples["pipeline_runs", "cpi", "succeeded"] == 2
    assert ("pipeline_runs", "cpi", "running") not in samples


async def test_an_unused_quota_is_wholly_left_and_names_no_key(settings):
    """A key appears by its fingerprint."""
    samples = await read_metrics(settings)

    ratios = [sample.value for sample in samples if sample.metric == "pipeline_quota_used_ratio"]
    assert ratios
    assert set(ratios) == {0.0}
    assert KEY not in repr(samples)
