"""Read answers again that could not be read whole, after the code or the table was mended."""

from collections.abc import Sequence
from typing import Any

from ray_pipeline.batch.progress import cycle_of
from ray_pipeline.batch.responses import Reading, collected, read
from ray_pipeline.catalog import job
from ray_pipeline.errors import PipelineError
from ray_pipeline.jobs.spec import Run
from ray_pipeline.storage.postgres.connection import Connection, session
from ray_pipeline.storage.postgres.job_store import JobStore, stored_request
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


async def letters_of_jobs(connection: Connection, ids: Sequence[int]) -> dict[int, int]:
    """Return those of the letters that batch jobs parked, with their payload's number."""
    cursor = await connection.execute(OF_JOBS, (list(ids),))
    return {letter: payload async for letter, _, payload in cursor}


async def reread(dsn: str, payloads: Sequence[int]) -> tuple[int, int]:
    """
    Read payloads again as their jobs read answers now; return rows stored, and parts still bad.

    Rows that were stored before are not touched; what is still bad comes back as a new letter. One
    transaction a payload: cut off anywhere, it may be repeated.

    Raises:
        PipelineError: If a payload, its job or its source is gone, or it is a refusal.
    """
    stored = bad = 0
    async with session(dsn, name="dlq replay") as connection:
        for number in dict.fromkeys(payloads):
            new, parked = await _reread_one(connection, number)
            stored, bad = stored + new, bad + parked
    return stored, bad


async def _reread_one(connection: Connection, number: int) -> tuple[int, int]:
    cursor = await connection.execute(PAYLOAD, (number,))
    row: tuple[Any, ...] | None = await cursor.fetchone()
    if row is None:
        raise PipelineError(f"payload {number} is gone", fix="drop its letters with a reason")
    name, source_name, slot, batch, request, body, received_at = row
    spec = job(name)
    sources = [one for one in spec.sources if one.provider.name == source_name]
    if not sources:
        raise PipelineError(f"job {name} has no source {source_name} any more")
    asked = stored_request(request)
    run = Run(name, slot, received_at, batch=batch)
    answer = Answer(200, {}, body, received_at)
    reading = read(sources[0], answer, asked, run)
    if not isinstance(reading, Reading):
        raise PipelineError(f"payload {number} is a refusal: {reading.message}")
    result = collected(sources[0], reading, asked, answer=answer, calls=0)
    store = JobStore(connection, spec, run, cycle_of(spec, run.slot))
    async with connection.transaction():
        await connection.execute(RESOLVE, (f"job:{name}", number))
        counts = await store.save(source_name, [result])
    return counts.new + counts.changed, counts.parked
