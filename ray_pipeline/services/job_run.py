"""One run of a job, with its connections, limiter, clients and heartbeat."""

import asyncio
import contextlib
import logging
import os
import socket
from collections.abc import AsyncIterator, Callable, Coroutine
from datetime import UTC, datetime, timedelta

import psycopg

from ray_pipeline.batch.call_count import CallCount
from ray_pipeline.batch.outcome import Outcome
from ray_pipeline.batch.permits import Limiter
from ray_pipeline.batch.progress import cycle_of
from ray_pipeline.batch.run_ports import Dependencies, Fetcher
from ray_pipeline.batch.runner import run_job
from ray_pipeline.errors import OwnershipLost, PipelineError
from ray_pipeline.jobs.spec import JobSpec, Run
from ray_pipeline.redact import redact
from ray_pipeline.settings import Settings
from ray_pipeline.storage.postgres.connection import Connection, session
from ray_pipeline.storage.postgres.job_inputs import next_batch, read_inputs
from ray_pipeline.storage.postgres.job_store import JobStore
from ray_pipeline.storage.postgres.ledger import Ledger
from ray_pipeline.storage.postgres.quality_facts import findings_of_run
from ray_pipeline.storage.postgres.runs import RunBook, RunKey
from ray_pipeline.storage.provider_clients import Clients
from ray_pipeline.tasks import first_of

log = logging.getLogger(__name__)


def holder_name() -> str:
    """Return a name that is unique to this process."""
    return f"{socket.gethostname()}:{os.getpid()}"


@contextlib.asynccontextmanager
async def ledger(settings: Settings) -> AsyncIterator[Ledger]:
    """Open the ledger, for the limiter actor and for runs without a limiter actor."""
    async with session(settings.postgres_dsn(), name="limiter") as connection:
        yield Ledger(connection, settings.key_fingerprints(), speed=settings.jobs.speed)


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
    Run a job for a slot and return its outcome, which is also written to the table of runs.

    Args:
        settings: The settings.
        spec: The job.
        slot: The time at which the run was due, UTC.
        trigger: schedule, hand or backfill.
        limiter: The source of permits; None for the ledger.
        fetcher: Makes the calls; None for the clients of the providers.
        again: Discard the slot's progress first, so that every item is requested again.
        on_progress: Called after each transaction.

    Raises:
        Overlap: If another run of the job is in progress.
        DatabaseUnavailable: If Postgres is away. A later run for the slot continues this one.
        OwnershipLost: If another process has taken over this run.
    """
    dsn = settings.postgres_dsn()
    key = RunKey(spec.name, slot, holder_name())
    async with contextlib.AsyncExitStack() as stack:
        rows = await stack.enter_async_context(session(dsn, name=f"job {spec.name}"))
        beats = await stack.enter_async_context(session(dsn, name=f"job {spec.name} heartbeat"))
        if limiter is None:
            limiter = await stack.enter_async_context(ledger(settings))
        if fetcher is None:
            fetcher = await stack.enter_async_context(Clients(settings.rest_urls()))
        calls = CallCount()
        takeover = timedelta(seconds=settings.jobs.takeover_s)
        book = RunBook(beats, takeover=takeover, calls=calls)
        await book.begin(key, trigger=trigger)
        if again:
            await book.forget(spec.name, cycle_of(spec, slot))
        return await _heartbeaten(
            book,
            key,
            _run(settings, spec, slot, rows, limiter, fetcher, calls, on_progress),
            interval_s=settings.jobs.heartbeat_s,
            secrets=settings.secrets(),
        )


async def _run(
    settings: Settings,
    spec: JobSpec,
    slot: datetime,
    connection: Connection,
    limiter: Limiter,
    fetcher: Fetcher,
    calls: CallCount,
    on_progress: Callable[[Outcome], None],
) -> Outcome:
    run = Run(
        spec.name,
        slot,
        datetime.now(UTC),
        batch=await next_batch(connection, spec, slot),
        inputs=await read_inputs(connection, spec.inputs),
    )
    store = JobStore(connection, spec, run, cycle_of(spec, slot), holder=holder_name(), calls=calls)
    dependencies = Dependencies(
        store=store,
        limiter=limiter,
        fetcher=fetcher,
        keys=settings.keys_by_provider(),
        clock=lambda: datetime.now(UTC),
        calls=calls,
        progress=on_progress,
        longest_wait_s=settings.jobs.longest_wait_s,
        speed=settings.jobs.speed,
    )
    outcome = await run_job(spec, run, dependencies)
    if outcome.state in {"succeeded", "nothing_new"}:
        await _check(connection, store, spec, slot)
    return outcome


async def _check(connection: Connection, store: JobStore, spec: JobSpec, slot: datetime) -> None:
    """Store the findings about the run. Its rows are committed already, also if this fails."""
    try:
        await store.find(await findings_of_run(connection, spec, slot))
    except psycopg.Error as error:
        log.warning("job %s could not be checked: %s", spec.name, _one_line(error))


async def _heartbeaten(
    book: RunBook,
    key: RunKey,
    running_job: Coroutine[object, object, Outcome],
    *,
    interval_s: float,
    secrets: list[str],
) -> Outcome:
    """Run a job while sending heartbeats, and record its outcome, also after an error."""
    outcomes: list[Outcome] = []

    async def finish_job() -> None:
        outcomes.append(await running_job)

    try:
        await first_of(finish_job(), _beat(book, key, interval_s=interval_s))
    except OwnershipLost:
        with contextlib.suppress(Exception):
            await book.add_calls(key)
        raise
    except asyncio.CancelledError:
        await asyncio.shield(book.finish(key, Outcome("failed", why="interrupted")))
        raise
    except Exception as error:
        why = redact(_one_line(error), secrets)
        with contextlib.suppress(Exception):
            await book.finish(key, Outcome("failed", why=why))
        raise
    (outcome,) = outcomes  # heartbeats only end with an error
    await book.finish(key, outcome)
    return outcome


async def _beat(book: RunBook, key: RunKey, *, interval_s: float) -> None:
    """Send heartbeats until another process has taken over the run."""
    while True:
        if not await book.beat(key):
            raise OwnershipLost(f"another process has taken over job {key.job}")
        await asyncio.sleep(interval_s)


def _one_line(error: Exception) -> str:
    text = str(error) if isinstance(error, PipelineError) else f"{type(error).__name__}: {error}"
    return (text.splitlines() or [type(error).__name__])[0]
