"""Read what the checks of a whole run need: earlier runs, and the newest events of a table."""

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from psycopg import sql
from psycopg.rows import dict_row

from ray_pipeline.jobs.spec import JobSpec
from ray_pipeline.jobs.table import Table, TableFinding
from ray_pipeline.observe.run_quality import RUNS, RunSize, few_rows, stale
from ray_pipeline.storage.postgres.connection import Connection

RAN = "SELECT rows_seen, items_done FROM job_runs WHERE job = %s AND slot = %s"
BEFORE = """
    SELECT rows_seen, items_done FROM job_runs
    WHERE job = %s AND slot < %s AND state IN ('succeeded', 'nothing_new')
    ORDER BY slot DESC LIMIT %s
"""
# Many rows share one event time: 1,000 rows are enough for the last 20 times, and an index finds
# them without reading the whole table.
EVENTS = """
    SELECT DISTINCT happened FROM (
        SELECT {event} AS happened FROM {table} WHERE {event} <= %s
        ORDER BY {event} DESC LIMIT 1000) AS newest
    ORDER BY happened DESC LIMIT 20
"""
FINDINGS = """
    SELECT found_at, job, slot, "table", "check", detail FROM findings
    WHERE %(job)s::text IS NULL OR job = %(job)s ORDER BY id DESC LIMIT %(limit)s
"""


async def findings_of_run(
    connection: Connection, spec: JobSpec, slot: datetime
) -> list[TableFinding]:
    """
    Return the findings about a run that has stored all of its rows.

    Raises:
        psycopg.Error: If Postgres is unavailable.
    """
    findings: list[TableFinding | None] = []
    ran = await _sizes(connection, RAN, (spec.name, slot))
    before = await _sizes(connection, BEFORE, (spec.name, slot, RUNS))
    if ran:
        findings.append(few_rows(spec, ran[0], before))
    period = spec.schedule.next(slot) - slot
    for table in spec.tables:
        if table.event is not None:
            events = await _events(connection, table, table.event, slot)
            findings.append(stale(table, events, slot=slot, period=period))
    return [finding for finding in findings if finding is not None]


async def recent_findings(
    connection: Connection, *, job: str | None = None, limit: int = 50
) -> list[Mapping[str, Any]]:
    """Return the newest findings, newest first."""
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(FINDINGS, {"job": job, "limit": limit})
        return list(await cursor.fetchall())


async def _sizes(connection: Connection, query: str, values: Sequence[object]) -> list[RunSize]:
    cursor = await connection.execute(query.encode(), values)
    return [RunSize(rows, items) async for rows, items in cursor]


async def _events(
    connection: Connection, table: Table, event: str, slot: datetime
) -> list[datetime]:
    """Return the newest event times of a table; times in the future are mistakes and left out."""
    query = sql.SQL(EVENTS).format(table=sql.Identifier(table.name), event=sql.Identifier(event))
    cursor = await connection.execute(query, (slot + timedelta(days=1),))
    return [_moment(happened) async for (happened,) in cursor]


def _moment(value: datetime | date) -> datetime:
    if not isinstance(value, datetime):
        return datetime.combine(value, time(0), UTC)
    return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
