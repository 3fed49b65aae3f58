"""
The embedded servers of one home: start them, find the running ones, stop them.

Every start is recorded in the home's state.json, so any later program finds the same servers.
"""

import os
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal

from ray_pipeline.local.embedded_server import EmbeddedServer
from ray_pipeline.local.servers import (
    SERVERS,
    KafkaServer,
    PostgresServer,
    TansuServer,
    ValkeyServer,
)
from ray_pipeline.local.start import wait_ready
from ray_pipeline.local.state import ServerRecord, locked, read_state, write_state

Broker = Literal["tansu", "kafka"]
Need = Literal["postgres", "redis", "kafka"]
Progress = Callable[[str], None]
ALL: frozenset[Need] = frozenset({"postgres", "redis", "kafka"})
BROKERS: tuple[Broker, ...] = ("tansu", "kafka")
STOP_ORDER = ("kafka", "tansu", "valkey", "postgres")
KEPT = "kept"  # if this file exists, the servers keep running when a pipeline ends
ANSWER_S = 10.0  # a running server that does not answer for this long is restarted


@dataclass(frozen=True, slots=True)
class LocalServers:
    """Where the embedded servers are; None for a server that was not requested."""

    postgres_dsn: str | None = None
    redis_url: str | None = None
    kafka_bootstrap_servers: str | None = None
    broker: Broker | None = None

    def environment(self) -> dict[str, str]:
        """Return the settings that point at these servers."""
        named = {
            "PIPELINE_POSTGRES__DSN": self.postgres_dsn,
            "PIPELINE_REDIS__URL": self.redis_url,
            "PIPELINE_KAFKA__BOOTSTRAP_SERVERS": self.kafka_bootstrap_servers,
            # Tansu does not support idempotent producers. Consumers recognise a repeated record by
            # its sequence number.
            "PIPELINE_KAFKA__IDEMPOTENCE": "false" if self.broker == "tansu" else None,
        }
        return {name: value for name, value in named.items() if value is not None}


def home() -> Path:
    """Return where everything local lives: PIPELINE_HOME, else the user's data directory."""
    if named := os.environ.get("PIPELINE_HOME"):
        return Path(named).absolute()
    data = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(data) / "ray-pipeline"


def claim(home: Path) -> AbstractContextManager[None]:
    """
    Reserve a home for one pipeline, until the context ends or the process dies.

    Raises:
        ServerError: If another pipeline uses it; the text has its pid.
    """
    return locked(home, "stack", doing="running a pipeline")


def up(
    home: Path,
    *,
    broker: Broker | None = None,
    need: frozenset[Need] = ALL,
    on_progress: Progress = lambda _: None,
) -> LocalServers:
    """
    Start the needed servers that are not running; use a running server that answers as it is.

    Args:
        home: The directory that holds data, logs and state.
        broker: Which broker; None for the one that was used here last, at first Tansu. If the
            other one is running here, it is stopped.
        need: Which servers.
        on_progress: Called with one line per event.

    Raises:
        ServerError: If a server does not start, or another process is starting or stopping them.
        MissingDependency: If a server is not installed.
    """
    with _changing(home):
        broker = broker or ("kafka" if "kafka" in read_state(home) else "tansu")
        if "kafka" in need:
            unused = [kind for kind in BROKERS if kind != broker]
            _stop(home, unused, on_progress)
            records = read_state(home)
            write_state(home, {kind: records[kind] for kind in records if kind not in unused})
        # The slowest first: all are spawned before the first wait, so they start in parallel.
        kinds = {"kafka": broker, "postgres": "postgres", "redis": "valkey"}
        needed = [kind for name, kind in kinds.items() if name in need]
        return _described(_start(home, needed, on_progress))


def down(home: Path, *, on_progress: Progress = lambda _: None) -> None:
    """
    Stop the running servers, the broker first and Postgres last. Data stays, except Tansu's.

    Raises:
        ServerError: If another process is starting or stopping them, or one does not end.
    """
    if home.exists():
        with _changing(home):
            _stop(home, STOP_ORDER, on_progress)
            (home / KEPT).unlink(missing_ok=True)


def keep(home: Path) -> None:
    """Let the servers of a home run until `down`, also after the pipeline that uses them ends."""
    (home / KEPT).touch()


def kept(home: Path) -> bool:
    """Return whether `keep` was called since the last `down`."""
    return (home / KEPT).exists()


def running(home: Path) -> LocalServers:
    """Return the servers of a home that are alive."""
    records = read_state(home).items()
    return _described(_server(home, kind, record) for kind, record in records if record.alive)


def env(home: Path) -> dict[str, str]:
    """Return the settings that point at the running servers of a home."""
    return running(home).environment()


def log_file(home: Path, kind: str) -> Path:
    """Return the log of a server of a home."""
    return home / "logs" / f"{kind}.log"


def _changing(home: Path) -> AbstractContextManager[None]:
    return locked(home, "servers", doing="starting or stopping servers")


def _start(home: Path, kinds: Iterable[str], on_progress: Progress) -> Sequence[EmbeddedServer]:
    servers = {}
    with ExitStack() as cleanup:
        for kind in kinds:
            servers[kind] = _find_or_spawn(home, kind, on_progress)
            cleanup.callback(servers[kind].ports.release)
        for server in servers.values():
            wait_ready(server, on_progress=on_progress, on_spawn=partial(_record, home, server))
    return list(servers.values())


def _find_or_spawn(home: Path, kind: str, on_progress: Progress) -> EmbeddedServer:
    server = _server(home, kind, read_state(home).get(kind))
    if server.process.running and server.process.answers(server.ping, timeout_s=ANSWER_S):
        on_progress(f"{server.name} is running at port {server.port}")
        return server
    server.process.kill()  # an unresponsive process would keep the port and lock the data
    with server.ports.held():
        on_progress(f"starting {server.name} at port {server.port}")
        server.spawn()
        # Before the server is ready: if this program is killed while it waits, the next one still
        # finds the process.
        _record(home, server)
    return server


def _record(home: Path, server: EmbeddedServer) -> None:
    identity = server.process.identity
    assert identity is not None, "a server that was just spawned has a process"
    record = ServerRecord(server.port, identity.pid, identity.started_s)
    write_state(home, read_state(home) | {server.kind: record})


def _stop(home: Path, kinds: Sequence[str], on_progress: Progress) -> None:
    records = read_state(home)
    for kind in kinds:
        if kind in records and records[kind].alive:
            server = _server(home, kind, records[kind])
            on_progress(f"stopping {server.name}")
            server.stop()


def _server(home: Path, kind: str, record: ServerRecord | None) -> EmbeddedServer:
    return SERVERS[kind](
        home / kind,
        port=record.port if record else 0,
        log=log_file(home, kind),
        identity=record.identity if record else None,
    )


def _described(servers: Iterable[EmbeddedServer]) -> LocalServers:
    described = LocalServers()
    for server in servers:
        match server:
            case PostgresServer():
                described = replace(described, postgres_dsn=server.dsn)
            case ValkeyServer():
                described = replace(described, redis_url=server.url)
            case TansuServer() | KafkaServer():
                described = replace(
                    described,
                    kafka_bootstrap_servers=server.bootstrap_servers,
                    broker="kafka" if isinstance(server, KafkaServer) else "tansu",
                )
    return described
