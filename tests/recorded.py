"""Store a recorded body as a run would have stored it."""

from datetime import UTC, datetime

from ray_pipeline.batch.progress import cycle_of
from ray_pipeline.batch.responses import ParsedAnswer, collected, read
from ray_pipeline.batch.results import RowCounts
from ray_pipeline.jobs.spec import JobSpec, Request, Run
from ray_pipeline.storage.postgres.connection import session
from ray_pipeline.storage.postgres.job_inputs import next_batch
from ray_pipeline.storage.postgres.job_store import JobStore
from ray_pipeline.transport.answer import Answer

SLOT = datetime(2026, 9, 1, 6, tzinfo=UTC)


async def store_recorded(
    dsn: str,
    spec: JobSpec,
    text: str,
    *,
    request: Request,
    run: Run | None = None,
    source: int = 0,
) -> RowCounts:
    """Classify, parse and store one body; return what storing did."""
    async with session(dsn, name="test") as connection:
        if run is None:
            batch = await next_batch(connection, spec, SLOT)
            run = Run(spec.name, SLOT, SLOT, batch=batch)
        chosen = spec.sources[source]
        answer = Answer(200, {}, text, run.now)
        reading = read(chosen, answer, request, run)
        assert isinstance(reading, ParsedAnswer), reading
        store = JobStore(connection, spec, run, cycle_of(spec, run.slot))
        result = collected(chosen, reading, request, answer=answer)
        return (await store.save(chosen.provider.name, [result])).counts
