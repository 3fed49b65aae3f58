"""What a run reads from Postgres before it plans: its inputs and its batch number."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from psycopg import sql
from psycopg.rows import dict_row

from ray_pipeline.jobs.spec import JobSpec
from ray_pipeline.storage.postgres.connection import Connection

NEXT_BATCH = """
    INSERT INTO job_batches (job, slot, batch)
    SELECT %(job)s, %(slot)s, 1 + greatest(
        (SELECT coalesce(max(batch_id), 0) FROM {table}),
        (SELECT coalesce(max(batch), 0) FROM job_batches WHERE job = %(job)s))
    ON CONFLICT (job, slot) DO UPDATE SET batch = job_batches.batch RETURNING batch
"""


async def next_batch(connection: Connection, spec: JobSpec, slot: datetime) -> int:
    """Return the batch number of a slot; a repeated run keeps it. 0 for a job without batches."""
    if spec.batched is None:
        return 0
    statement = sql.SQL(NEXT_BATCH).format(table=sql.Identifier(spec.batched))
    cursor = await connection.execute(statement, {"job": spec.name, "slot": slot})
    row = await cursor.fetchone()
    assert row is not None
    return int(row[0])


async def read_inputs(
    connection: Connection, queries: Mapping[str, str]
) -> dict[str, tuple[Mapping[str, Any], ...]]:
    """Return the rows of a job's input queries, by name."""
    inputs: dict[str, tuple[Mapping[str, Any], ...]] = {}
    async with connection.cursor(row_factory=dict_row) as cursor:
        for name, query in queries.items():
            await cursor.execute(query.encode())
            inputs[name] = tuple(await cursor.fetchall())
    return inputs
