"""What the checks of a whole run read from a real Postgres."""

from datetime import UTC, datetime, timedelta

import pytest

from ray_pipeline.catalog import job
from ray_pipeline.storage.postgres.connection import session
from ray_pipeline.storage.postgres.quality_facts import findings_of_run, recent_findings

SLOT = datetime(2026, 11, 2, 6, tzinfo=UTC)
WEEK = timedelta(days=7)


@pytest.fixture
async def connection(postgres_dsn):
    async with session(postgres_dsn, name="test") as connection:
        yield connection


async def put_run(connection, *, weeks_ago: int, rows: int, state: str = "succeeded") -> None:
    await connection.execute(
        "INSERT INTO job_runs (job, slot, state, trigger, rows_seen, items_done) "
        "VALUES ('cpi', %s, %s, 'schedule', %s, 1)",
        (SLOT - weeks_ago * WEEK, state, rows),
    )


@pytest.mark.parametrize(("rows", "checks"), [(100, []), (49, ["count"])])
async def test_a_run_is_compared_with_the_successful_runs_before_it(connection, rows, checks):
    """A failed run of few rows does not lower what is usual, nor does a later run."""
    for week in range(1, 5):
        await put_run(connection, weeks_ago=week, rows=100)
    await put_run(connection, weeks_ago=5, rows=1, state="failed")
    await put_run(connection, weeks_ago=-1, rows=1)
    await put_run(connection, weeks_ago=0, rows=rows)

    findings = await findings_of_run(connection, job("cpi"), SLOT)

    assert [finding.check for finding in findings if finding.check == "count"] == checks


async def test_the_newest_findings_come_first(connection):
    """Of one job, or of all."""
    for number, name in enumerate(("cpi", "inflation", "cpi")):
        await connection.execute(
            'INSERT INTO findings (job, slot, "table", "check", detail) '
            "VALUES (%s, %s, 't', 'rows', %s)",
            (name, SLOT + number * WEEK, str(number)),
        )

    assert [row["detail"] for row in await recent_findings(connection)] == ["2", "1", "0"]
    assert [row["detail"] for row in await recent_findings(connection, job="cpi")] == ["2", "0"]
    assert len(await recent_findings(connection, limit=1)) == 1
