"""Store a recorded body as a run would have stored it."""

from datetime import UTC, datetime

from ray_pipeline.collected import Counts
from ray_pipeline.flows.answer import Reading, collected, read
from ray_pipeline.io.job_store import JobStore, next_batch
from ray_pipeline.io.postgres import session
from ray_pipeline.progress import cycle_of
from ray_pipeline.refusals import Answer
from ray_pipeline.spec import JobSpec, Request, Run

SLOT = datetime(2026, 9, 1, 6, tzinfo=UTC)


async def store_recorded(
    dsn: str,
    spec: JobSpec,
    text: str,
    *,
    request: Request,
    run: Run | None = None,
    source: int = 0,
) -> Counts:
    """Classify, parse and store one body; return what storing did."""
    async with session(dsn, name="test") as connection:
        if run is None:
            batch = await next_batch(connection, spec, SLOT)
            run = Run(spec.name, SLOT, SLOT, batch=batch)
        chosen = spec.sources[source]
        answer = Answer(200, {}, text, run.now)
        reading = read(chosen, answer, request, run)
        assert isinstance(reading, Reading), reading
        store = JobStore(connection, spec, run, cycle_of(spec, run.slot))
        result = collected(chosen, reading, request, answer=answer, calls=1)
        return await store.save(chosen.provider.name, [result])
