"""`up` and `demo`: the whole pipeline in one command."""

import asyncio
import contextlib
import json
import logging
import os
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from ray_pipeline.actors import ray_runtime
from ray_pipeline.actors.desired import desired
from ray_pipeline.actors.ray_runtime import RayConnection
from ray_pipeline.actors.supervisor import Supervisor
from ray_pipeline.cli.child_process import child_process
from ray_pipeline.cli.common import command
from ray_pipeline.cli.live_table import make_console, watch
from ray_pipeline.cli.local import check_broker
from ray_pipeline.cli.simulated_feeds import start_simulators
from ray_pipeline.cli.tables import render_audit
from ray_pipeline.feeds.feed_registry import FEEDS
from ray_pipeline.local import simulated_data, stack
from ray_pipeline.local.announced import Announced, announcing
from ray_pipeline.observe.audit import Audit
from ray_pipeline.redact import fingerprint
from ray_pipeline.settings import Settings, load
from ray_pipeline.storage.audit_facts import run_audit
from ray_pipeline.storage.kafka.topics import ensure_topics
from ray_pipeline.storage.migrations import migrate
from ray_pipeline.storage.postgres.connection import session
from ray_pipeline.storage.postgres.stream_identity import record_topic_prefix
from ray_pipeline.storage.postgres.symbols import fill_for_simulation

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
    """Everything that the run needs, started."""

    settings: Settings
    supervisor: Supervisor
    dashboard: str
    page: str

    def caption(self) -> str:
        """Return what the live table says about the run."""
        names = ", ".join(self.settings.api.simulated)
        simulated = f"SIMULATED: {names}. " if names else ""
        page, _, _ = self.page.partition("#")
        return f"{simulated}Page: {page} Ray dashboard: {self.dashboard or 'none'}. Ctrl-C ends it."


async def _run(
    seconds: float | None, report: Path | None, *, broker: str | None, demo: bool
) -> int:
    console = make_console(stderr=True)
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    stop = asyncio.Event()
    _on_signal(stop)
    settings = load()
    log_libraries(stack.log_file(settings.home_dir(), "libraries"))
    async with contextlib.AsyncExitStack() as cleanup:
        stage = await _start(cleanup, settings, console, broker=broker, demo=demo)
        _on_signal(stop)  # again: starting Ray removes the handlers
        begun_s = time.monotonic()
        supervising = asyncio.create_task(stage.supervisor.run())
        try:
            await watch(
                stage.settings, console, caption=stage.caption(), stop=stop, seconds=seconds
            )
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
    return 0 if seconds is None or audit.clean else 1


def _write_report(path: Path, audit: Audit) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(audit.as_json(), indent=2) + "\n")


async def _start(
    cleanup: contextlib.AsyncExitStack,
    settings: Settings,
    console: Console,
    *,
    broker: str | None,
    demo: bool,
) -> Stage:
    embedded = settings.postgres.dsn is None
    home = settings.home_dir()
    home.mkdir(parents=True, exist_ok=True)
    cleanup.enter_context(stack.claim(home))
    settings = await _start_servers(cleanup, settings, broker=broker, console=console)
    settings, simulated = await start_simulators(cleanup, settings, demo=demo)
    settings = settings.changed(api={"simulated": simulated})
    for line in await migrate(settings.postgres_dsn()):
        console.print(f"migrated: {line}")
    async with session(settings.postgres_dsn(), name="up") as database:
        await record_topic_prefix(database, settings.kafka.topic_prefix)
    await ensure_topics(settings)
    for line in _warnings(home, simulated, embedded=embedded, demo=demo):
        console.print(line, soft_wrap=True)
    page = await _serve_page(cleanup, settings)
    console.print(f"page: {page}", soft_wrap=True)
    connection = _start_ray(cleanup, settings, console)
    cleanup.enter_context(announcing(home, _announced(settings, connection)))
    for feed in settings.enabled_feeds():
        if feed.name in simulated:
            await fill_for_simulation(settings.postgres_dsn(), feed.symbols)
    submitter = ray_runtime.submitter(settings, connection.dashboard)
    supervisor = Supervisor(settings, list(desired(settings, submitter=submitter)))
    return Stage(settings, supervisor, connection.dashboard, page)


async def _start_servers(
    cleanup: contextlib.AsyncExitStack, settings: Settings, *, broker: str | None, console: Console
) -> Settings:
    """Start an embedded server for each that is not configured; return settings that use them."""
    configured: dict[stack.Need, bool] = {
        "postgres": settings.postgres.dsn is not None,
        "redis": settings.redis.url is not None,
        "kafka": settings.kafka.bootstrap_servers is not None,
    }
    need = frozenset(name for name, is_configured in configured.items() if not is_configured)
    if not need:
        return settings
    home = settings.home_dir()
    servers = await asyncio.to_thread(
        stack.up, home, broker=check_broker(broker), need=need, on_progress=console.print
    )
    if not stack.kept(home):
        # Servers that `local up` started run until `local down`.
        cleanup.callback(stack.down, home)
    return servers.used_by(settings)


def _key_titles() -> str:
    """Return the titles of the venues that need a key."""
    titles = {feed.protocol.title for feed in FEEDS if feed.key_provider is not None}
    return " and ".join(sorted(titles))


def _warnings(
    home: Path, simulated: tuple[str, ...], *, embedded: bool, demo: bool
) -> Iterator[str]:
    if simulated:
        reason = "the demo always simulates" if demo else f"no key is set for {_key_titles()}"
        yield f"[bold yellow]simulated data:[/] {', '.join(simulated)} - {reason}"
    warning = simulated_data.warning(home, simulated=bool(simulated), embedded=embedded)
    if warning is not None:
        yield f"[bold yellow]{warning}[/]"


async def _serve_page(cleanup: contextlib.AsyncExitStack, settings: Settings) -> str:
    """
    Serve the API and its page in a child process, and return the page's address.

    A token that is made up for this run follows the #, which browsers never send.
    """
    served = await cleanup.enter_async_context(
        child_process(
            "ray_pipeline.cli.main", "api", "--any-port",
            fix="run `ray-pipeline api`", variables=settings.environment(),
        )
    )  # fmt: skip
    return f"{served['url']}#token={served['token']}" if served["token"] else str(served["url"])


def _start_ray(
    cleanup: contextlib.AsyncExitStack, settings: Settings, console: Console
) -> RayConnection:
    console.print("starting Ray")
    # On the main thread: Ray sets signal handlers, and nothing else runs yet.
    connection = ray_runtime.start_ray(settings)
    cleanup.callback(connection.stop)
    if connection.dashboard:
        for line in _dashboard_lines(connection, watched=console.is_terminal):
            console.print(line, soft_wrap=True)
        console.print(f"metrics: {ray_runtime.metrics_url()}")
    return connection


def _dashboard_lines(connection: RayConnection, *, watched: bool) -> Iterator[str]:
    """Yield the dashboard's address and its token; in a log file only the token's path."""
    token_file = connection.environment.get("RAY_AUTH_TOKEN_PATH")
    if token_file is None:
        yield f"Ray dashboard: {connection.dashboard}"
        return
    yield f"Ray dashboard: {connection.dashboard} (asks for the token in {token_file})"
    if watched:
        yield f"Ray token: {Path(token_file).read_text()}"


def _announced(settings: Settings, connection: RayConnection) -> Announced:
    return Announced(
        ray_address=ray_runtime.address(),
        ray_environment=dict(connection.environment),
        namespace=settings.ray.namespace,
        simulated=settings.api.simulated,
        keys=settings.key_fingerprints(),
        stream_keys=settings.stream_key_counts(),
        speed=settings.jobs.speed,
        postgres=fingerprint(settings.postgres_dsn()),
    )


async def _finish(stage: Stage, console: Console) -> Audit:
    """Stop producers, let consumers store every published record, audit, stop consumers."""
    drain_s = stage.settings.streams.drain_s
    await stage.supervisor.stop("scheduler", drain_s=drain_s)
    for name in await stage.supervisor.stop("producer", drain_s=drain_s):
        console.print(
            f"[yellow]{name} did not finish within {drain_s:g} s; the audit tells more[/]"
        )
    await stage.supervisor.start_missing("consumer")
    audit = await run_audit(stage.settings, wait_s=drain_s)
    for kind in ("consumer", "archiver", "limiter"):
        for name in await stage.supervisor.stop(kind, drain_s=drain_s):
            console.print(f"[yellow]{name} did not finish within {drain_s:g} s[/]")
    return audit


def _on_signal(stop: asyncio.Event) -> None:
    """Stop cleanly at the first Ctrl-C, and at once at the second."""
    loop = asyncio.get_running_loop()

    def request_stop() -> None:
        if stop.is_set():
            os._exit(130)
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, request_stop)


def log_libraries(path: Path) -> None:
    """
    Write the logs of libraries into a file, so that they do not break the table on the terminal.

    The handlers are replaced, and not the levels: Ray sets the level of its logger when it starts.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handler = logging.FileHandler(path, mode="w", encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    for name in ("aiokafka", "ray", "kafka"):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler], False
