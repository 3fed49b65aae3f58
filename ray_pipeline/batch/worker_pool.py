"""Run requests concurrently and hand their results on in batches."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable, Sequence

from ray_pipeline.batch.attempts import Deferred
from ray_pipeline.batch.results import Collected
from ray_pipeline.jobs.spec import Request

CONCURRENCY = 8
BATCH_RESULTS = 16  # most results in one transaction
BATCH_WAIT_S = 0.02  # how long the first result of a batch waits for others

Results = AsyncGenerator[Collected, None]
Batches = AsyncGenerator[list[Collected], None]


async def collect_concurrently(
    requests: Sequence[Request], pages: Callable[[Request], Results]
) -> Batches:
    """
    Yield the results of all requests, in batches of those that arrive within a moment.

    The queue between workers and consumer is bounded, so memory is bounded as well: workers wait
    while a batch is stored.

    Raises:
        Deferred: After the results of all calls that were in flight, if a worker was deferred.
    """
    remaining = iter(requests)  # shared: each worker takes the next request when it is free
    results: asyncio.Queue[Collected | None] = asyncio.Queue(BATCH_RESULTS)
    deferrals: list[Deferred] = []

    async def run_worker() -> None:
        for request in remaining:
            try:
                async with contextlib.aclosing(pages(request)) as item_results:
                    async for result in item_results:
                        await results.put(result)
            except Deferred as deferral:
                deferrals.append(deferral)
            if deferrals:
                return  # calls in flight are already counted: other workers finish and store them

    async def work_all() -> None:
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(min(CONCURRENCY, len(requests))):
                    group.create_task(run_worker())
        except ExceptionGroup as group_error:
            # An outage of Postgres reaches several workers; callers know it by its own class.
            raise group_error.exceptions[0] from None
        finally:
            await results.put(None)  # marks the end, also after a failure

    workers = asyncio.create_task(work_all())
    try:
        ended = False
        while not ended:
            batch = await _next_batch(results)
            ended = batch[-1] is None
            if stored := [result for result in batch if result is not None]:
                yield stored
        await workers
    finally:
        workers.cancel()
        await asyncio.gather(workers, return_exceptions=True)
    if deferrals:
        raise deferrals[0]


async def _next_batch(results: "asyncio.Queue[Collected | None]") -> list[Collected | None]:
    batch = [await results.get()]
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(BATCH_WAIT_S):
            while len(batch) < BATCH_RESULTS and batch[-1] is not None:
                batch.append(await results.get())
    return batch
