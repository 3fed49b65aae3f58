"""One run of a job, with everything it needs: connections, limiter, clients, heartbeat."""

import asyncio
import contextlib
import logging
import os
import socket
from collections.abc import AsyncIterator, Callable, Coroutine
from datetime import UTC, datetime, timedelta

import psycopg

from ray_pipeline.errors import OwnershipLost, PipelineError
from ray_pipeline.flows.run import Fetcher, World, run_job
from ray_pipeline.io.fetch import Clients
from ray_pipeline.io.job_store import JobStore, next_batch, read_inputs
from ray_pipeline.io.ledger import Ledger
from ray_pipeline.io.postgres import Connection, session
from ray_pipeline.io.quality import findings_of_run
from ray_pipeline.io.runs import RunBook, RunKey
from ray_pipeline.outcome import Outcome
from ray_pipeline.ports import Limiter
from ray_pipeline.progress import cycle_of
from ray_pipeline.providers import PROVIDERS
from ray_pipeline.redact import fingerprint, redact
from ray_pipeline.settings import Settings
from ray_pipeline.spec import JobSpec, Run

log = logging.getLogger(__name__)


def holder_name() -> str:
    """Return a name for this process that no other has."""
    return f"{socket.gethostname()}:{os.getpid()}"


def plain_keys(settings: Settings) -> dict[str, list[str]]:
    """Return every provider's keys, as they are."""
    return {one.name: settings.keys(one.name) for one in PROVIDERS}


def fingerprints(settings: Settings) -> dict[str, list[str]]:
    """Return every provider's keys by their fingerprints."""
    return {name: [fingerprint(key) for key in some] for name, some in plain_keys(settings).items()}


def base_urls(settings: Settings) -> dict[str, str]:
    """Return the providers' base URLs that the settings change."""
    urls = {one.name: getattr(settings, one.name).rest_url for one in PROVIDERS}
    return {name: url for name, url in urls.items() if url}


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
    world = World(
        store=store,
        limiter=limiter,
        fetcher=fetcher,
        keys=plain_keys(settings),
        clock=lambda: datetime.now(UTC),
        progress=on_progress,
        longest_wait_s=settings.jobs.longest_wait_s,
        speed=settings.jobs.speed,
    )
    outcome = await run_job(spec, run, world)
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
