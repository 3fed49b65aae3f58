"""The embedded servers together: up, found again, down. Everything lives in one directory."""

import contextlib
import fcntl
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from ray_pipeline.errors import ServerError
from ray_pipeline.local.process import Mark, alive, free_port
from ray_pipeline.local.servers import (
    KafkaServer,
    PostgresServer,
    TansuServer,
    ValkeyServer,
    open_path,
)

Broker = Literal["tansu", "kafka"]
Need = Literal["postgres", "redis", "kafka"]
ALL: frozenset[Need] = frozenset({"postgres", "redis", "kafka"})
STATE = "state.json"
Server = PostgresServer | ValkeyServer | TansuServer | KafkaServer


@dataclass(frozen=True, slots=True)
class LocalServers:
    """Where the embedded servers are; None for one that was not needed."""

    postgres_dsn: str | None = None
    redis_url: str | None = None
    kafka_bootstrap_servers: str | None = None
    broker: Broker | None = None

    def environment(self) -> dict[str, str]:
        """Return the settings that point at them."""
        named = {
            "PIPELINE_POSTGRES__DSN": self.postgres_dsn,
            "PIPELINE_REDIS__URL": self.redis_url,
            "PIPELINE_KAFKA__BOOTSTRAP_SERVERS": self.kafka_bootstrap_servers,
        }
        environment = {name: value for name, value in named.items() if value is not None}
        if self.broker == "tansu":
            # It knows no idempotent producers; our own numbers recognise repeats either way.
            environment["PIPELINE_KAFKA__IDEMPOTENCE"] = "false"
        return environment


def home() -> Path:
    """Return where everything local lives: PIPELINE_HOME, else the user's data directory."""
    if named := os.environ.get("PIPELINE_HOME"):
        return Path(named).absolute()
    data = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(data) / "ray-pipeline"


def up(
    where: Path,
    *,
    broker: Broker | None = None,
    need: frozenset[Need] = ALL,
    on_progress: Callable[[str], None] = lambda _: None,
) -> LocalServers:
    """
    Start what is needed and not running; what runs is used as it is.

    Args:
        where: The directory that holds data, logs and state.
        broker: Which broker; None for the one that was used here last, Tansu at first.
        need: Which servers.
        on_progress: Told what happens, a line at a time.

    Raises:
        ServerError: If a server does not start, or another process is starting them.
        MissingDependency: If a server is not installed.
    """
    with _locked(where):
        state = _read(where)
        chosen: Broker = broker or state.get("broker", {}).get("kind", "tansu")
        if "kafka" in need and state.get("broker", {}).get("kind", chosen) != chosen:
            _stop_one(where, "broker", state)
            state.pop("broker", None)
        servers: dict[str, Server] = {}
        for name in _names(need):
            server = _server(where, name, broker=chosen, port=state.get(name, {}).get("port"))
            servers[name] = server
            _ensure(server, _mark(state.get(name)), on_progress)
            state[name] = _entry(server, chosen)
            _write(where, state)
        return _described(servers, chosen)


def running(where: Path) -> LocalServers:
    """Return the servers of a directory that are alive."""
    state = _read(where)
    broker: Broker = state.get("broker", {}).get("kind", "tansu")
    servers = {
        name: _server(where, name, broker=broker, port=entry["port"])
        for name, entry in state.items()
        if alive(_mark(entry))
    }
    return _described(servers, broker)


def down(where: Path, *, on_progress: Callable[[str], None] = lambda _: None) -> None:
    """Stop what runs, readers of data before its keepers. Data stays."""
    with _locked(where):
        state = _read(where)
        for name in ("broker", "redis", "postgres"):
            if name in state and alive(_mark(state[name])):
                on_progress(f"stopping {name}")
                _stop_one(where, name, state)


def _names(need: frozenset[Need]) -> list[str]:
    wanted = {"postgres": "postgres", "redis": "redis", "kafka": "broker"}
    return [name for need_name, name in wanted.items() if need_name in need]


def _server(where: Path, name: str, *, broker: Broker, port: int | None) -> Server:
    if name == "postgres":
        return PostgresServer(where / "postgres", port=port)
    if name == "redis":
        return ValkeyServer(where / "valkey", port=port)
    if broker == "kafka":
        return KafkaServer(where / "kafka", port=port)
    return TansuServer(where / "tansu", port=port)


def _ensure(server: Server, process: Mark | None, on_progress: Callable[[str], None]) -> None:
    name = server.process.name
    if alive(process):
        server.process.adopt(process)
        on_progress(f"{name} runs at port {server.port}")
        return
    # The port of the last time, if nobody has taken it since.
    server.port = free_port(server.port)
    on_progress(f"starting {name} at port {server.port}")
    server.start()


def _stop_one(where: Path, name: str, state: dict[str, dict[str, str]]) -> None:
    entry = state[name]
    server = _server(where, name, broker=_kind(entry), port=int(entry["port"]))
    server.process.adopt(_mark(entry))
    server.stop()


def _kind(entry: dict[str, str]) -> Broker:
    return "kafka" if entry.get("kind") == "kafka" else "tansu"


def _described(servers: dict[str, Server], broker: Broker) -> LocalServers:
    postgres, redis, kafka = (servers.get(name) for name in ("postgres", "redis", "broker"))
    return LocalServers(
        postgres_dsn=postgres.dsn if isinstance(postgres, PostgresServer) else None,
        redis_url=redis.url if isinstance(redis, ValkeyServer) else None,
        kafka_bootstrap_servers=(
            kafka.bootstrap_servers if isinstance(kafka, TansuServer | KafkaServer) else None
        ),
        broker=broker if kafka else None,
    )


def _entry(server: Server, broker: Broker) -> dict[str, object]:
    mark = server.process.mark
    entry: dict[str, object] = {"port": server.port, **(asdict(mark) if mark else {})}
    if isinstance(server, TansuServer | KafkaServer):
        entry["kind"] = broker
    return entry


def _mark(entry: object) -> Mark | None:
    if isinstance(entry, dict) and "pid" in entry and "started" in entry:
        return Mark(int(entry["pid"]), int(entry["started"]))
    return None


def _read(where: Path) -> dict:  # type: ignore[type-arg]
    try:
        state = json.loads((where / STATE).read_text())
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise ServerError(
            f"{where / STATE} cannot be read: {error}", fix="delete it; the data is beside it"
        ) from error
    return state if isinstance(state, dict) else {}


def _write(where: Path, state: object) -> None:
    new = where / f"{STATE}.new"
    new.write_text(json.dumps(state, indent=1))
    new.replace(where / STATE)


@contextlib.contextmanager
def _locked(where: Path) -> Iterator[None]:
    """Hold the directory for the length of a start or stop."""
    where.mkdir(parents=True, exist_ok=True)
    with (where / "lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            raise ServerError(
                f"process {lock.read().strip() or '?'} is starting or stopping servers in {where}",
                fix="wait for it, or name another directory with PIPELINE_HOME",
            ) from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield
