"""Checks after a run: what they find is written down, and holds up nothing."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
import typer
from typer.testing import CliRunner

from ray_pipeline.catalog import all_jobs, job
from ray_pipeline.cli import jobs
from ray_pipeline.services.job_run import collect
from ray_pipeline.settings import Settings, load
from ray_pipeline.simulators.rest import RestSimulator
from ray_pipeline.storage.postgres.connection import session
from ray_pipeline.storage.postgres.quality_facts import findings_of_run

SLOT = datetime(2026, 11, 2, 6, tzinfo=UTC)
WEEK = timedelta(days=7)


@pytest.fixture
async def settings(postgres_dsn, monkeypatch) -> AsyncIterator[Settings]:
    """Settings that send all calls to a simulator."""
    async with RestSimulator() as simulator:
        for name, value in simulator.variables.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("PIPELINE_POSTGRES__DSN", postgres_dsn)
        monkeypatch.setenv("PIPELINE_API_KEYS", '{"fred": ["key"]}')
        monkeypatch.setenv("PIPELINE_JOBS__SPEED", "100000")
        yield load()


def query(dsn: str, statement: str, *values: object) -> list[tuple]:
    with psycopg.connect(dsn, autocommit=True) as connection:
        cursor = connection.execute(statement, values)
        return cursor.fetchall() if cursor.description else []


def found(dsn: str) -> list[tuple]:
    return query(dsn, 'SELECT job, slot, "table", "check" FROM findings ORDER BY id')


async def test_usual_runs_have_no_finding(settings, postgres_dsn):
    """Neither the first nor the fifth."""
    for number in range(5):
        await collect(settings, job("federal_funds_rate"), datetime.now(UTC) + number * WEEK)

    assert found(postgres_dsn) == []


async def test_a_run_of_few_rows_is_a_finding_and_succeeds(settings, postgres_dsn):
    """Runs before had twice as many and more; those that failed do not count."""
    spec = job("cpi")
    for number in range(1, 6):
        query(
            postgres_dsn,
            "INSERT INTO job_runs (job, slot, state, rows_seen, items_done) VALUES "
            "('cpi', %s, 'succeeded', 100000, 1), ('cpi', %s, 'failed', 0, 0)",
            SLOT - number * WEEK,
            SLOT - number * WEEK - timedelta(hours=1),
        )

    outcome = await collect(settings, spec, SLOT)
    again = await collect(settings, spec, SLOT)

    assert (outcome.state, again.state) == ("succeeded", "nothing_new")
    assert ("cpi", SLOT, "cpi", "count") in found(postgres_dsn)
    (detail,) = query(postgres_dsn, "SELECT detail FROM findings WHERE \"check\" = 'count'")
    assert detail[0].endswith(
        f"{outcome.counts.seen} rows; the median of the last 5 runs is 100000"
    )


async def test_a_series_that_has_ended_is_a_finding(settings, postgres_dsn):
    """It is months older than its own pauses, at a slot years later."""
    later = datetime.now(UTC) + timedelta(days=1000)

    outcome = await collect(settings, job("cpi"), later)

    assert outcome.state == "succeeded"
    assert [row[2:] for row in found(postgres_dsn)] == [("cpi", "freshness")]


async def test_a_check_that_fails_costs_nothing(settings, postgres_dsn, caplog):
    """The rows are stored, and the run is green; the log says what happened."""
    query(postgres_dsn, "ALTER TABLE findings RENAME TO gone")
    later = datetime.now(UTC) + timedelta(days=1000)

    outcome = await collect(settings, job("federal_funds_rate"), later)

    assert outcome.state == "succeeded"
    assert "federal_funds_rate could not be checked" in caplog.text
    state = query(postgres_dsn, "SELECT state FROM job_runs")
    assert state == [("succeeded",)]


@pytest.mark.parametrize("spec", all_jobs(), ids=lambda spec: spec.name)
async def test_every_job_can_be_checked(postgres_dsn, spec):
    """The columns that its tables name are there; an empty database has nothing odd."""
    async with session(postgres_dsn, name="test") as connection:
        assert await findings_of_run(connection, spec, SLOT) == []


async def test_findings_are_listed(settings, postgres_dsn):
    """As a table, and as JSON; of one job or of all."""
    await collect(settings, job("cpi"), datetime.now(UTC) + timedelta(days=1000))
    app = typer.Typer()
    app.command("findings")(jobs.findings)
    app.command("runs")(jobs.runs)

    shell = CliRunner()
    table = await in_thread(shell, app, "findings")
    listed = json.loads(await in_thread(shell, app, "findings", "cpi", "--json"))
    none = json.loads(await in_thread(shell, app, "findings", "inflation", "--json"))

    assert "freshness" in table
    assert [(one["job"], one["check"]) for one in listed] == [("cpi", "freshness")]
    assert none == []


async def in_thread(shell: CliRunner, app: typer.Typer, *arguments: str) -> str:
    """Run a command, which has an event loop of its own."""
    result = await asyncio.to_thread(shell.invoke, app, list(arguments))
    assert result.exit_code == 0, result.output
    return result.stdout
