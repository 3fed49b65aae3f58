"""Parse stored answers again, after the code or the table that refused a part of them was fixed."""

from collections.abc import Sequence
from typing import Any

from ray_pipeline.batch.progress import cycle_of
from ray_pipeline.batch.responses import ParsedAnswer, collected, read
from ray_pipeline.catalog import job
from ray_pipeline.errors import PipelineError
from ray_pipeline.jobs.spec import Run
from ray_pipeline.storage.postgres.connection import Connection, session
from ray_pipeline.storage.postgres.job_store import JobStore
from ray_pipeline.storage.postgres.stored_requests import stored_request
from ray_pipeline.transport.answer import Answer

OF_JOBS = """
    SELECT id, feed, "offset" FROM dead_letters
    WHERE id = ANY(%s) AND topic LIKE 'job:%%' AND state = 'open' ORDER BY id
"""
PAYLOAD = """
    SELECT job, source, slot, batch, request, body, received_at FROM payloads WHERE id = %s
"""
RESOLVE = """
    UPDATE dead_letters SET state = 'replayed', resolved_at = now(), resolution = 'read again'
    WHERE topic = %s AND "offset" = %s AND state = 'open'
"""


async def dead_letters_of_jobs(connection: Connection, ids: Sequence[int]) -> dict[int, int]:
    """Return which dead letters come from batch jobs, each with the number of its payload."""
    cursor = await connection.execute(OF_JOBS, (list(ids),))
    return {dead_letter_id: payload async for dead_letter_id, _, payload in cursor}


async def reread(dsn: str, payloads: Sequence[int]) -> tuple[int, int]:
    """
    Parse payloads again with the current code; return how many rows were stored, and how many parts
    still cannot be.

    Rows that are stored already are not touched. A part that still cannot be stored becomes a new
    dead letter. Each payload is one transaction, so an interrupted replay may be repeated.

    Raises:
        PipelineError: If a payload, its job or its source does not exist, or it is a refusal.
    """
    stored = bad = 0
    async with session(dsn, name="dlq replay") as connection:
        for number in dict.fromkeys(payloads):
            new, parked = await _reread_payload(connection, number)
            stored, bad = stored + new, bad + parked
    return stored, bad


async def _reread_payload(connection: Connection, number: int) -> tuple[int, int]:
    cursor = await connection.execute(PAYLOAD, (number,))
    row: tuple[Any, ...] | None = await cursor.fetchone()
    if row is None:
        raise PipelineError(f"payload {number} is gone", fix="drop its letters with a reason")
    name, source_name, slot, batch, request, body, received_at = row
    spec = job(name)
    sources = [source for source in spec.sources if source.provider.name == source_name]
    if not sources:
        raise PipelineError(f"job {name} has no source {source_name} any more")
    repeated = stored_request(request)
    run = Run(name, slot, received_at, batch=batch)
    answer = Answer(200, {}, body, received_at)
    parsed = read(sources[0], answer, repeated, run)
    if not isinstance(parsed, ParsedAnswer):
        raise PipelineError(f"payload {number} is a refusal: {parsed.message}")
    result = collected(sources[0], parsed, repeated, answer=answer)
    store = JobStore(connection, spec, run, cycle_of(spec, run.slot))
    async with connection.transaction():
        await connection.execute(RESOLVE, (f"job:{name}", number))
        counts = (await store.save(source_name, [result])).counts
    return counts.new + counts.changed, counts.parked
