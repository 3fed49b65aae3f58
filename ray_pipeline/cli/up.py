"""`up` and `demo`: the whole pipeline in one command, and its live table."""

import asyncio
import contextlib
import json
import logging
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console, Group, RenderableType
from rich.live import Live

from ray_pipeline import settings as settings_module
from ray_pipeline.actors import ray_runtime
from ray_pipeline.actors.desired import desired
from ray_pipeline.actors.ray_runtime import RayConnection
from ray_pipeline.actors.supervisor import Supervisor
from ray_pipeline.cli.common import command
from ray_pipeline.cli.local import check_broker
from ray_pipeline.cli.tables import render_audit, render_job_summary, render_table
from ray_pipeline.errors import PipelineError, ServerError
from ray_pipeline.local import simulated_data, stack
from ray_pipeline.local.announced import Announced, announcing
from ray_pipeline.observe.audit import Audit
from ray_pipeline.observe.status import FeedRow, with_rates
from ray_pipeline.providers import PROVIDERS
from ray_pipeline.providers.configured import fingerprints
from ray_pipeline.redact import fingerprint
from ray_pipeline.services.scheduling import scheduled
from ray_pipeline.settings import Settings
from ray_pipeline.storage.audit_facts import run_audit
from ray_pipeline.storage.kafka.broker import ensure_topics
from ray_pipeline.storage.migrations import migrate
from ray_pipeline.storage.postgres.connection import session
from ray_pipeline.storage.postgres.runs import last_runs
from ray_pipeline.storage.postgres.status_rows import read_feed_rows
from ray_pipeline.storage.postgres.symbols import seed_top_gainers

log = logging.getLogger(__name__)

TABLE_S = 1.0
LOG_WIDTH = 150
PLAIN_TABLE_S = 5.0  # where nobody watches, such as a log file
DEMO_KEYS = 12  # ten shards, the top gainers, and an eleventh shard for members past 500
DEMO_FINNHUB_RATE = 400
DEMO_BITHUMB_RATE = 60
DEMO_JOB_SPEED = 10_000  # a day's quota in nine seconds
DEMO_JOBS_AT_ONCE = 4
DEMO_KEYS_EACH = 2  # of a provider of batch data
CHILD_READY_S = 30.0

For = Annotated[
    float | None,
    typer.Option(
        "--for", help="Stop by itself after this many seconds; exit 0 if the audit is clean."
    ),
]
Report = Annotated[
    Path | None, typer.Option(help="Write the audit to this file, as JSON.", dir_okay=False)
]
BrokerOption = Annotated[
    str | None,
    typer.Option(
        help="The embedded broker: 'tansu' (memory only: what it holds is gone after a restart) or "
        "'kafka' (Apache Kafka, durable; needs Java 17 and, once, Maven).",
    ),
]


@command
async def up(seconds: For = None, report: Report = None, broker: BrokerOption = None) -> int:
    """
    Collect: start what is not configured, then everything, and keep it running until Ctrl-C.

    Postgres, Redis and Kafka come from PIPELINE_POSTGRES__DSN, PIPELINE_REDIS__URL and
    PIPELINE_KAFKA__BOOTSTRAP_SERVERS; for each that is not set an embedded server is started in
    PIPELINE_HOME. Finnhub's keys come from PIPELINE_API_KEYS='{"finnhub": ["...", ...]}', one a
    connection; without any, simulated feeds stand in, and every page says so.
    """
    return await _run(seconds, report, broker=broker, demo=False)


@command
async def demo(seconds: For = None, report: Report = None, broker: BrokerOption = None) -> int:
    """
    Show everything with simulated feeds: no keys, no Docker, no network.

    Ctrl-C ends it with a summary. Its data stays in PIPELINE_HOME; look at it with
    `ray-pipeline status`, `audit`, `gaps`, or any SQL client (`ray-pipeline local env`).
    """
    return await _run(seconds, report, broker=broker, demo=True)


@dataclass(frozen=True, slots=True)
class Stage:
    """Everything the run needs, started."""

    settings: Settings
    supervisor: Supervisor
    dashboard: str
    page: str
    simulated: tuple[str, ...]


async def _run(
    seconds: float | None, report: Path | None, *, broker: str | None, demo: bool
) -> int:
    console = _console(stderr=True)
    _quiet()
    stop = asyncio.Event()
    _on_signal(stop)
    settings_module.load()  # a wrong setting is told before anything starts
    audit: Audit | None = None
    async with contextlib.AsyncExitStack() as cleanup:
        stage = await _start(cleanup, console, broker=broker, demo=demo)
        _on_signal(stop)  # again: starting Ray takes the handlers away
        begun_s = time.monotonic()
        supervising = asyncio.create_task(stage.supervisor.run())
        try:
            await _watch(stage, console, stop=stop, seconds=seconds)
        finally:
            supervising.cancel()
            await asyncio.gather(supervising, return_exceptions=True)
        console.print("stopping: producers first, then what they have published is stored")
        audit = await _finish(stage, console)
        console.print(f"ran {time.monotonic() - begun_s:.0f} s")
        console.print(render_audit(audit))
        if report is not None:
            _write_report(report, audit)
            console.print(f"audit written to {report}")
    if seconds is None:
        return 0
    return 0 if audit.clean else 1


def _write_report(path: Path, audit: Audit) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(audit.as_json(), indent=2) + "\n")


async def _start(
    cleanup: contextlib.AsyncExitStack, console: Console, *, broker: str | None, demo: bool
) -> Stage:
    say = console.print
    home = stack.home()
    home.mkdir(parents=True, exist_ok=True)
    cleanup.enter_context(stack.claim(home))
    embedded = settings_module.load().postgres.dsn is None
    await _start_servers(cleanup, home, broker=broker, console=console)
    simulated = await _start_simulators(cleanup, demo=demo)
    settings = settings_module.load()
    for line in await migrate(settings.postgres_dsn()):
        say(f"migrated: {line}")
    await ensure_topics(settings)
    if simulated:
        say(
            f"[bold yellow]simulated data:[/] {', '.join(simulated)} - "
            + ("the demo always simulates" if demo else "no key is set for Finnhub")
        )
    if mixed := simulated_data.warning(home, simulated=bool(simulated), embedded=embedded):
        say(f"[bold yellow]{mixed}[/]", soft_wrap=True)
    os.environ["PIPELINE_API__SIMULATED"] = json.dumps(simulated)
    page = await _serve_page(cleanup)
    say(f"page: {page}", soft_wrap=True)
    say("starting Ray")
    # On the main thread: Ray sets signal handlers, and nothing else runs yet.
    connection = ray_runtime.start_ray(settings, home=home)
    cleanup.callback(connection.stop)
    if connection.dashboard:
        for line in _dashboard_lines(connection, watched=console.is_terminal):
            say(line, soft_wrap=True)
        say(f"metrics: {ray_runtime.metrics_url()}")
    actors = desired(settings, submitter=ray_runtime.submitter(settings, connection.dashboard))
    supervisor = Supervisor(settings, list(actors))
    said = Announced(
        ray_address=ray_runtime.address(),
        ray_environment=dict(connection.environment),
        namespace=settings.ray.namespace,
        simulated=tuple(simulated),
        keys=fingerprints(settings),
        stream_keys=len(settings.stream_keys()),
        speed=settings.jobs.speed,
        postgres=fingerprint(settings.postgres_dsn()),
    )
    cleanup.enter_context(announcing(home, said))
    if simulated:
        await seed_top_gainers(settings.postgres_dsn())
    return Stage(settings, supervisor, connection.dashboard, page, tuple(simulated))


async def _start_servers(
    cleanup: contextlib.AsyncExitStack, home: Path, *, broker: str | None, console: Console
) -> None:
    """Start an embedded server for whatever is not configured, and point the settings at it."""
    settings = settings_module.load()
    configured: dict[stack.Need, bool] = {
        "postgres": settings.postgres.dsn is not None,
        "redis": settings.redis.url is not None,
        "kafka": settings.kafka.bootstrap_servers is not None,
    }
    need = frozenset(name for name, there in configured.items() if not there)
    if not need:
        return
    servers = await asyncio.to_thread(
        stack.up,
        home,
        broker=check_broker(broker),
        need=need,
        on_progress=console.print,
    )
    os.environ.update(servers.environment())
    if not stack.kept(home):
        # What somebody started with `local up` is theirs to stop.
        cleanup.callback(stack.down, home)


async def _start_simulators(cleanup: contextlib.AsyncExitStack, *, demo: bool) -> list[str]:
    """Start simulators for the feeds that cannot be had, and return those feeds' names."""
    settings = settings_module.load()
    keyless = not settings.stream_keys() and settings.finnhub.ws_url is None
    if not demo and not keyless:
        return []
    found = await cleanup.enter_async_context(
        _simulator("finnhub", "--rate", str(DEMO_FINNHUB_RATE))
    )
    os.environ["PIPELINE_FINNHUB__WS_URL"] = found["url"]
    # Keys of the streams alone: the providers' real ones are for the batch jobs.
    keys = [f"simulated-{number}" for number in range(1, DEMO_KEYS + 1)]
    os.environ["PIPELINE_FINNHUB__WS_KEYS"] = json.dumps(keys)
    # Simulated trades come at any hour.
    os.environ.setdefault("PIPELINE_STREAMS__MARKET_HOURS", "always")
    simulated = ["sp500", "top_gainers"]
    if demo or settings.bithumb.ws_url is None:
        found = await cleanup.enter_async_context(
            _simulator("bithumb", "--rate", str(DEMO_BITHUMB_RATE))
        )
        os.environ["PIPELINE_BITHUMB__WS_URL"] = found["ws_url"]
        os.environ["PIPELINE_BITHUMB__REST_URL"] = found["rest_url"]
        simulated.append("bithumb")
    if demo:
        await _simulate_rest(cleanup)
        simulated.append("batch datasets")
    return simulated


async def _simulate_rest(cleanup: contextlib.AsyncExitStack) -> None:
    """Send every batch job to a simulator, whose clock is fast enough to see all of them."""
    found = await cleanup.enter_async_context(_simulator("rest"))
    bithumb = os.environ.get("PIPELINE_BITHUMB__REST_URL")
    os.environ.update(found["variables"])
    if bithumb:
        os.environ["PIPELINE_BITHUMB__REST_URL"] = bithumb  # which knows the same markets
    keys = {
        one.name: [f"simulated-{one.name}-{number}" for number in range(1, DEMO_KEYS_EACH + 1)]
        for one in PROVIDERS
        if one.needs_key
    }
    os.environ["PIPELINE_API_KEYS"] = json.dumps(keys)
    os.environ.setdefault("PIPELINE_JOBS__SPEED", str(DEMO_JOB_SPEED))
    os.environ.setdefault("PIPELINE_JOBS__RETRY_PAUSE_S", "10")
    os.environ.setdefault("PIPELINE_JOBS__AT_ONCE", str(DEMO_JOBS_AT_ONCE))


def _dashboard_lines(connection: RayConnection, *, watched: bool) -> Iterator[str]:
    """Yield where the dashboard is and which token opens it; a log file gets the token's place."""
    token_file = connection.environment.get("RAY_AUTH_TOKEN_PATH")
    if token_file is None:
        yield f"Ray dashboard: {connection.dashboard}"
        return
    yield f"Ray dashboard: {connection.dashboard} (asks for the token in {token_file})"
    if watched:
        yield f"Ray token: {Path(token_file).read_text()}"


async def _serve_page(cleanup: contextlib.AsyncExitStack) -> str:
    """
    Serve the API and its page beside the pipeline, and return the page's address.

    A token that was made up for this run is in it, behind the #, which browsers send to nobody.
    """
    command = ("ray_pipeline.cli.main", "api", "--any-port")
    found = await cleanup.enter_async_context(_child(*command, fix="run `ray-pipeline api`"))
    return f"{found['url']}#token={found['token']}" if found["token"] else str(found["url"])


def _simulator(
    provider: str, *options: str
) -> contextlib.AbstractAsyncContextManager[dict[str, Any]]:
    """Run a simulator as a process of its own; yield what it printed when it was listening."""
    fix = f"run `ray-pipeline simulate {provider}`"
    return _child("ray_pipeline.simulators", provider, *options, fix=fix)


@contextlib.asynccontextmanager
async def _child(module: str, *arguments: str, fix: str) -> AsyncIterator[dict[str, Any]]:
    """Run a module as a process of its own; yield what it printed when it was listening."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", module, *arguments, "--until-stdin-ends",
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
        stdin=asyncio.subprocess.PIPE, start_new_session=True,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        line = await asyncio.wait_for(process.stdout.readline(), CHILD_READY_S)
        if not line:
            raise ServerError(
                f"`{' '.join((module, *arguments))}` ended while starting",
                fix=f"{fix} to see why",
            )
        yield json.loads(line)
    finally:
        if process.returncode is None:
            process.terminate()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(process.wait(), 5)
        if process.returncode is None:
            process.kill()
            await process.wait()


async def _watch(
    stage: Stage, console: Console, *, stop: asyncio.Event, seconds: float | None
) -> None:
    """Show the live table until the time is over or somebody asks to stop."""
    deadline_s = time.monotonic() + seconds if seconds is not None else float("inf")
    out = _console(stderr=False)
    rows: list[FeedRow] = []
    watched = out.is_terminal
    live = Live(console=out, auto_refresh=False, transient=False) if watched else None
    with live or contextlib.nullcontext():
        while not stop.is_set() and time.monotonic() < deadline_s:
            try:
                async with session(stage.settings.postgres_dsn(), name="status") as connection:
                    now = await read_feed_rows(connection)
                rows = with_rates(rows, now) if rows else now
                page = await _page(stage, rows)
                if live is not None:
                    live.update(page, refresh=True)
                else:
                    out.print(page)
                rows = now
            except PipelineError as error:
                console.print(f"[yellow]{error}[/]")
            pause_s = TABLE_S if watched else PLAIN_TABLE_S
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(
                    stop.wait(), max(0.0, min(pause_s, deadline_s - time.monotonic()))
                )


async def _page(stage: Stage, rows: list[FeedRow]) -> RenderableType:
    """Return what is shown while it runs: the feeds, and what the batch jobs do."""
    table = render_table(rows)
    table.caption = _caption(stage)
    if not stage.settings.jobs.enabled:
        return table
    async with session(stage.settings.postgres_dsn(), name="live table") as connection:
        last = await last_runs(connection)
    names = [spec.name for spec in scheduled(stage.settings) if not spec.manual]
    return Group(table, render_job_summary(names, last))


def _console(*, stderr: bool) -> Console:
    """Return a console; a log file is as wide as the widest table."""
    console = Console(stderr=stderr)
    return console if console.is_terminal else Console(stderr=stderr, width=LOG_WIDTH)


def _caption(stage: Stage) -> str:
    simulated = f"SIMULATED: {', '.join(stage.simulated)}. " if stage.simulated else ""
    page, _, _ = stage.page.partition("#")
    return f"{simulated}Page: {page} Ray dashboard: {stage.dashboard or 'none'}. Ctrl-C ends it."


async def _finish(stage: Stage, console: Console) -> Audit:
    """Stop producers, let consumers store what is there, audit, stop consumers."""
    drain_s = stage.settings.streams.drain_s
    await stage.supervisor.stop("scheduler", drain_s=drain_s)
    for name in await stage.supervisor.stop("producer", drain_s=drain_s):
        console.print(
            f"[yellow]{name} did not finish within {drain_s:g} s; the audit tells more[/]"
        )
    audit = await run_audit(stage.settings, wait_s=drain_s)
    for kind in ("consumer", "archiver", "limiter"):
        for name in await stage.supervisor.stop(kind, drain_s=drain_s):
            console.print(f"[yellow]{name} did not finish within {drain_s:g} s[/]")
    return audit


def _on_signal(stop: asyncio.Event) -> None:
    """First Ctrl-C: stop cleanly. Second: at once."""
    loop = asyncio.get_running_loop()

    def ask() -> None:
        if stop.is_set():
            os._exit(130)
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, ask)


def _quiet() -> None:
    """Keep libraries' chatter out of the table; what matters is on the page or in the audit."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    for name in ("aiokafka", "ray", "kafka"):
        logging.getLogger(name).setLevel(logging.ERROR)
