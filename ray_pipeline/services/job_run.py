"""One run of a job, with everything it needs: connections, limiter, clients, heartbeat."""

import asyncio
import contextlib
import logging
import os
import socket
from collections.abc import AsyncIterator, Callable, Coroutine
from datetime import UTC, datetime, timedelta

import psycopg

from ray_pipeline.batch.outcome import Outcome
from ray_pipeline.batch.permits import Limiter
from ray_pipeline.batch.progress import cycle_of
from ray_pipeline.batch.run_ports import Dependencies, Fetcher
from ray_pipeline.batch.runner import run_job
from ray_pipeline.errors import OwnershipLost, PipelineError
from ray_pipeline.jobs.spec import JobSpec, Run
from ray_pipeline.providers.configured import base_urls, fingerprints, plain_keys
from ray_pipeline.redact import redact
from ray_pipeline.settings import Settings
from ray_pipeline.storage.postgres.connection import Connection, session
from ray_pipeline.storage.postgres.job_store import JobStore, next_batch, read_inputs
from ray_pipeline.storage.postgres.ledger import Ledger
from ray_pipeline.storage.postgres.quality_facts import findings_of_run
from ray_pipeline.storage.postgres.runs import RunBook, RunKey
from ray_pipeline.storage.provider_clients import Clients

log = logging.getLogger(__name__)


def holder_name() -> str:
    """Return a name for this process that no other has."""
    return f"{socket.gethostname()}:{os.getpid()}"


@contextlib.asynccontextmanager
async def ledger(settings: Settings) -> AsyncIterator[Ledger]:
    """Open the ledger itself, for runs without a limiter actor and for that actor."""
    async with session(settings.postgres_dsn(), name="limiter") as connection:
        yield Ledger(connection, fingerprints(settings), speed=settings.jobs.speed)


async def collect(
    settings: Settings,
    spec: JobSpec,
    slot: datetime,
    *,
    trigger: str = "hand",
    limiter: Limiter | None = None,
    fetcher: Fetcher | None = None,
    again: bool = False,
    on_progress: Callable[[Outcome], None] = lambda _outcome: None,
) -> Outcome:
    """
    Run a job for a slot and return how it ended; the book of runs says the same.

    Args:
        settings: The settings.
        spec: The job.
        slot: The moment it was due, UTC.
        trigger: schedule, hand or backfill.
        limiter: Where leave is asked; None for the ledger itself.
        fetcher: Who calls; None for the network.
        again: Forget the slot's progress first and ask everything anew.
        on_progress: Told after each transaction.

    Raises:
        Overlap: If a run of the job is at work.
        DatabaseUnavailable: If Postgres is away; run it again later, it goes on.
        OwnershipLost: If another process has taken this run over.
    """
    dsn = settings.postgres_dsn()
    key = RunKey(spec.name, slot, holder_name())
    async with contextlib.AsyncExitStack() as stack:
        rows = await stack.enter_async_context(session(dsn, name=f"job {spec.name}"))
        beats = await stack.enter_async_context(session(dsn, name=f"job {spec.name} heartbeat"))
        if limiter is None:
            limiter = await stack.enter_async_context(ledger(settings))
        if fetcher is None:
            fetcher = await stack.enter_async_context(Clients(base_urls(settings)))
        book = RunBook(beats, takeover=timedelta(seconds=settings.jobs.takeover_s))
        await book.begin(key, trigger=trigger)
        if again:
            await book.forget(spec.name, cycle_of(spec, slot))
        return await _heartbeaten(
            book,
            key,
            _work(settings, spec, slot, rows, limiter, fetcher, on_progress),
            interval_s=settings.jobs.heartbeat_s,
            secrets=settings.secrets(),
        )


async def _work(
    settings: Settings,
    spec: JobSpec,
    slot: datetime,
    connection: Connection,
    limiter: Limiter,
    fetcher: Fetcher,
    on_progress: Callable[[Outcome], None],
) -> Outcome:
    run = Run(
        spec.name,
        slot,
        datetime.now(UTC),
        batch=await next_batch(connection, spec, slot),
        inputs=await read_inputs(connection, spec.inputs),
    )
    store = JobStore(connection, spec, run, cycle_of(spec, slot), holder=holder_name())
    dependencies = Dependencies(
        store=store,
        limiter=limiter,
        fetcher=fetcher,
        keys=plain_keys(settings),
        clock=lambda: datetime.now(UTC),
        progress=on_progress,
        longest_wait_s=settings.jobs.longest_wait_s,
        speed=settings.jobs.speed,
    )
    outcome = await run_job(spec, run, dependencies)
    if outcome.state in {"succeeded", "nothing_new"}:
        await _check(connection, store, spec, slot)
    return outcome


async def _check(connection: Connection, store: JobStore, spec: JobSpec, slot: datetime) -> None:
    """Record what is odd about the run; what was stored is stored, also if that fails."""
    try:
        await store.find(await findings_of_run(connection, spec, slot))
    except psycopg.Error as error:
        log.warning("job %s could not be checked: %s", spec.name, _one_line(error))


async def _heartbeaten(
    book: RunBook,
    key: RunKey,
    work: Coroutine[object, object, Outcome],
    *,
    interval_s: float,
    secrets: list[str],
) -> Outcome:
    """Do the work while saying that it lives, and write down how it ended, whatever happens."""
    working = asyncio.ensure_future(work)
    beating = asyncio.create_task(_beat(book, key, interval_s=interval_s))
    try:
        await asyncio.wait({working, beating}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            beating.result()  # it only ends by an error
        outcome = working.result()
    except OwnershipLost:
        raise
    except asyncio.CancelledError:
        await _stop(working)
        await asyncio.shield(book.finish(key, Outcome("failed", why="interrupted")))
        raise
    except Exception as error:
        why = redact(_one_line(error), secrets)
        with contextlib.suppress(Exception):
            await book.finish(key, Outcome("failed", why=why))
        raise
    finally:
        beating.cancel()
        await _stop(working)
        await asyncio.gather(beating, return_exceptions=True)
    await book.finish(key, outcome)
    return outcome


async def _stop(task: "asyncio.Future[Outcome]") -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def _beat(book: RunBook, key: RunKey, *, interval_s: float) -> None:
    """Beat until the run is another's."""
    while True:
        if not await book.beat(key):
            raise OwnershipLost(f"another process has taken over job {key.job}")
        await asyncio.sleep(interval_s)


def _one_line(error: Exception) -> str:
    text = str(error) if isinstance(error, PipelineError) else f"{type(error).__name__}: {error}"
    return (text.splitlines() or [type(error).__name__])[0]
