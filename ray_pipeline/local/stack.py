"""The embedded servers together: up, found again, down. Everything lives in one directory."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal

from ray_pipeline.local.servers import (
    KafkaServer,
    PostgresServer,
    Server,
    TansuServer,
    ValkeyServer,
)
from ray_pipeline.local.start import wait_ready
from ray_pipeline.local.state import Known, locked, read_state, write_state
from ray_pipeline.settings import Settings

Broker = Literal["tansu", "kafka"]
Need = Literal["postgres", "redis", "kafka"]
Progress = Callable[[str], None]
ALL: frozenset[Need] = frozenset({"postgres", "redis", "kafka"})
BROKERS: tuple[Broker, ...] = ("tansu", "kafka")
STOP_ORDER = ("kafka", "tansu", "valkey", "postgres")
KEPT = "kept"  # a file that says: these servers were started for their own sake
ANSWER_S = 10.0  # a running server that says nothing for so long is started anew


@dataclass(frozen=True, slots=True)
class LocalServers:
    """Where the embedded servers are; None for one that was not needed."""

    postgres_dsn: str | None = None
    redis_url: str | None = None
    kafka_bootstrap_servers: str | None = None
    broker: Broker | None = None

    def environment(self) -> dict[str, str]:
        """Return the variables of settings that point at these servers."""
        return self.used_by(Settings()).environment()

    def used_by(self, settings: Settings) -> Settings:
        """Return settings that point at these servers."""
        if self.postgres_dsn is not None:
            settings = settings.changed(postgres={"dsn": self.postgres_dsn})
        if self.redis_url is not None:
            settings = settings.changed(redis={"url": self.redis_url})
        if self.kafka_bootstrap_servers is not None:
            settings = settings.changed(kafka={"bootstrap_servers": self.kafka_bootstrap_servers})
        if self.broker == "tansu":
            # Tansu has no idempotent producer; the numbers of the records identify repeats.
            settings = settings.changed(kafka={"idempotence": False})
        return settings


def claim(where: Path) -> AbstractContextManager[None]:
    """
    Hold a home for one pipeline, until the context is left or the process dies.

    Raises:
        ServerError: If another pipeline holds it; the text has its pid.
    """
    return locked(where, "stack", doing="running a pipeline")


def up(
    where: Path,
    *,
    broker: Broker | None = None,
    need: frozenset[Need] = ALL,
    on_progress: Progress = lambda _: None,
) -> LocalServers:
    """
    Start what is needed and does not run; what runs and answers is used as it is.

    Args:
        where: The home: the directory that holds data, logs and state.
        broker: Which broker; None for the one that was used here last, Tansu at first. Another
            one that runs here is stopped.
        need: Which servers.
        on_progress: Told what happens, a line at a time.

    Raises:
        ServerError: If a server does not start, or another process is starting or stopping them.
        MissingDependency: If a server is not installed.
    """
    with _changing(where):
        chosen = broker or _last_broker(read_state(where))
        kinds = _kinds(need, chosen)
        if "kafka" in need:
            _stop(where, [kind for kind in BROKERS if kind != chosen], on_progress)
            _forget(where, [kind for kind in BROKERS if kind != chosen])
        return _described(_start(where, kinds, on_progress))


def down(where: Path, *, on_progress: Progress = lambda _: None) -> None:
    """
    Stop what runs, the broker first and Postgres last. Data stay, except a memory-only broker's.

    Raises:
        ServerError: If another process is starting or stopping them, or one does not end.
    """
    if where.exists():
        with _changing(where):
            _stop(where, STOP_ORDER, on_progress)
            (where / KEPT).unlink(missing_ok=True)


def keep(where: Path) -> None:
    """Leave the servers of a home running when a pipeline that uses them ends, until `down`."""
    (where / KEPT).touch()


def kept(where: Path) -> bool:
    """Say whether somebody asked for the servers of a home to go on."""
    return (where / KEPT).exists()


def running(where: Path) -> LocalServers:
    """Return the servers of a home that are alive."""
    known = read_state(where).values()
    return _described(_server(where, one) for one in known if one.alive)


def env(where: Path) -> dict[str, str]:
    """Return the settings that point at the running servers of a home."""
    return running(where).environment()


def log_file(where: Path, kind: str) -> Path:
    """Return where a server of a home writes its log."""
    return where / "logs" / f"{kind}.log"


def _changing(where: Path) -> AbstractContextManager[None]:
    return locked(where, "servers", doing="starting or stopping servers")


def _last_broker(known: dict[str, Known]) -> Broker:
    return "kafka" if "kafka" in known else "tansu"


def _kinds(need: frozenset[Need], broker: Broker) -> Iterator[str]:
    # The slowest first: they start beside each other.
    named = {"kafka": broker, "postgres": "postgres", "redis": "valkey"}
    return (kind for name, kind in named.items() if name in need)


def _start(where: Path, kinds: Iterable[str], on_progress: Progress) -> Sequence[Server]:
    servers = {}
    with ExitStack() as cleanup:
        for kind in kinds:
            servers[kind] = _find_or_spawn(where, kind, on_progress)
            cleanup.callback(servers[kind].ports.release)
        for kind, server in servers.items():
            remember = partial(_remember, where, kind, server)
            wait_ready(server, on_progress=on_progress, on_spawn=remember)
    return list(servers.values())


def _find_or_spawn(where: Path, kind: str, on_progress: Progress) -> Server:
    known = read_state(where)
    server = _server(where, known.get(kind) or Known(kind, port=0, pid=0, started_s=0.0))
    if server.process.running and server.process.answers(server.ping, timeout_s=ANSWER_S):
        on_progress(f"{server.process.name} is running at port {server.port}")
        return server
    server.process.kill()
    with server.ports.held():
        on_progress(f"starting {server.process.name} at port {server.port}")
        server.spawn()
        # Before it is ready: a process that is written down is never lost.
        _remember(where, kind, server)
    return server


def _remember(where: Path, kind: str, server: Server) -> None:
    write_state(where, read_state(where) | {kind: _known(kind, server)})


def _stop(where: Path, kinds: Sequence[str], on_progress: Progress) -> None:
    known = read_state(where)
    for kind in kinds:
        if kind in known and known[kind].alive:
            server = _server(where, known[kind])
            on_progress(f"stopping {server.process.name}")
            server.stop()


def _forget(where: Path, kinds: Sequence[str]) -> None:
    write_state(where, {k: known for k, known in read_state(where).items() if k not in kinds})


def _server(where: Path, known: Known) -> Server:
    makers: dict[str, type[Server]] = {
        "postgres": PostgresServer,
        "valkey": ValkeyServer,
        "tansu": TansuServer,
        "kafka": KafkaServer,
    }
    return makers[known.kind](
        where / known.kind,
        port=known.port,
        log=log_file(where, known.kind),
        identity=known.identity if known.pid else None,
    )


def _known(kind: str, server: Server) -> Known:
    identity = server.process.identity
    assert identity is not None, "a server that was just spawned has a process"
    return Known(kind, server.port, pid=identity.pid, started_s=identity.started_s)


def _described(servers: Iterable[Server]) -> LocalServers:
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
