"""When each table was last collected, from a real Postgres."""

from datetime import UTC, datetime, timedelta

import pytest

from ray_pipeline.catalog import all_jobs
from ray_pipeline.feeds.feed_registry import FEEDS
from ray_pipeline.settings import load
from ray_pipeline.storage.postgres.connection import session
from ray_pipeline.storage.postgres.freshness_rows import of_feeds, of_jobs
from ray_pipeline.storage.postgres.status_rows import read_status


@pytest.fixture
async def connection(postgres_dsn):
    async with session(postgres_dsn, name="test") as connection:
        yield connection


async def test_every_table_of_a_job_has_a_row(connection):
    """Without a run, none is fresh."""
    rows = await of_jobs(connection, keys={}, scheduled=True)

    assert [row.table for row in rows] == [
        table.name for spec in all_jobs() for table in spec.tables
    ]
    assert not any(row.fresh for row in rows)
    assert {row.collected_at for row in rows} == {None}


async def test_a_failed_run_does_not_count_as_collected(connection):
    """The age is that of the last success."""
    success = datetime.now(UTC) - timedelta(minutes=5)
    await connection.execute(
        "INSERT INTO job_runs (job, slot, state, trigger, finished_at) VALUES "
        "('cpi', %s, 'succeeded', 'schedule', %s), ('cpi', now(), 'failed', 'schedule', now())",
        (success, success),
    )

    (row,) = [
        row for row in await of_jobs(connection, keys={}, scheduled=True) if row.source == "cpi"
    ]

    assert row.collected_at == success
    assert row.age_s == pytest.approx(300, abs=120)


async def test_every_feed_has_a_row_in_the_order_of_the_catalogue(connection, postgres_dsn):
    """A feed without a record was never collected."""
    settings = load(postgres={"dsn": postgres_dsn})
    status = await read_status(connection, settings, stream_keys={})

    rows = of_feeds(status)

    assert [(row.source, row.table) for row in rows] == [(feed.name, feed.table) for feed in FEEDS]
    assert {(row.fresh, row.collected_at) for row in rows} == {(False, None)}
