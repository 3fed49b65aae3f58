"""Each server binds its held ports, or other ports if another program has taken them."""

import logging
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis

from ray_pipeline.errors import ServerError
from ray_pipeline.local import stack
from ray_pipeline.local.embedded_server import EmbeddedServer
from ray_pipeline.local.ports import HOST, reserve
from ray_pipeline.local.server_ports import ServerPorts
from ray_pipeline.local.servers import (
    PostgresServer,
    TansuServer,
    ValkeyServer,
)
from ray_pipeline.local.state import read_state
from tests.secured_kafka import KafkaSecurity, SecuredKafka
from tests.support import next_line

SECURITY = KafkaSecurity(users={"ann": "secret"})
KINDS: dict[str, Callable[[Path], EmbeddedServer]] = {
    "postgres": lambda directory: PostgresServer(directory, durable=False),
    "valkey": ValkeyServer,
    "tansu": TansuServer,
    "kafka": lambda directory: SecuredKafka(directory, SECURITY),
}
KAFKA_PORTS = ("open", "sasl", "controller")
ROUNDS = 4
UP_AND_DOWN = """
import sys
from pathlib import Path
from ray_pipeline.local import stack
from ray_pipeline.local.embedded_server import EmbeddedServer
home, rounds = Path(sys.argv[1]), int(sys.argv[2])
sys.stdin.readline()
for _ in range(rounds):
    servers = stack.up(home)
    print(servers.postgres_dsn, servers.redis_url, servers.kafka_bootstrap_servers, flush=True)
    sys.stdin.readline()
    stack.down(home)
"""


@pytest.fixture(params=KINDS)
def server(request, servers) -> Iterator[EmbeddedServer]:
    server = KINDS[request.param](servers(request.param))
    yield server
    server.stop()


@pytest.fixture
def home(tmp_path) -> Iterator[Path]:
    yield tmp_path / "home"
    stack.down(tmp_path / "home")


def test_a_server_starts_at_the_ports_that_are_held_for_it(server):
    """No other program can get a port between its choice and the start of the server."""
    server.ports.hold()
    held = server.ports.numbers

    server.spawn()
    with reserve(len(held), preferred=held) as other:
        assert not set(held) & set(other.ports)
    server.wait_ready()

    assert server.ports.numbers == held
    server.process.check_listening(held)
    with reserve(len(held), preferred=held) as other:
        assert not set(held) & set(other.ports)


def test_a_killed_server_keeps_its_ports_for_its_next_start(server):
    """Its clients, which keep reconnecting, find it at the same address."""
    server.start()
    before = server.ports.numbers

    server.kill()
    with reserve(len(before), preferred=before) as other:
        assert not set(before) & set(other.ports)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((HOST, before[0]))
    server.start()

    assert server.ports.numbers == before


def test_a_stopped_server_releases_its_ports(server):
    server.start()
    ports = server.ports.numbers

    server.stop()

    with reserve(len(ports), preferred=ports) as other:
        assert other.ports == ports


@pytest.mark.parametrize(
    ("kind", "index"),
    [("postgres", 0), ("valkey", 0), ("tansu", 0), *(("kafka", at) for at in range(3))],
    ids=["postgres", "valkey", "tansu", *(f"kafka-{name}" for name in KAFKA_PORTS)],
)
def test_a_server_whose_port_is_taken_while_it_starts_is_started_at_another(
    servers, caplog, kind, index
):
    """Its other ports stay the same, and a warning names the old and the new port."""
    server = KINDS[kind](servers(kind))
    server.ports.hold()
    before = server.ports.numbers

    with socket.create_server((HOST, before[index])), caplog.at_level(logging.WARNING):
        server.start()

    after = server.ports.numbers
    assert [at for at in range(len(before)) if before[at] != after[at]] == [index]
    server.process.check_listening(after)
    assert f"another program took a port of {server.process.name}" in caplog.text
    assert str(before[index]) in caplog.text
    assert str(after[index]) in caplog.text
    server.stop()


@pytest.mark.parametrize("kind", ["tansu", "kafka"])
def test_another_broker_at_the_port_is_not_confused_with_the_server(servers, kind):
    """It answers at the port while the server itself fails to bind it."""
    server, stranger = KINDS[kind](servers(kind)), TansuServer(servers("tansu"))
    server.ports.hold()
    stranger.ports = server.ports  # held already, so it starts at the same port
    stranger.spawn()
    stranger.process.wait_ready(stranger.ping, timeout_s=30)
    stranger.ports = ServerPorts(server.port)

    server.start()

    stranger.process.check_listening([stranger.port])
    assert server.port != stranger.port
    server.process.check_listening(server.ports.numbers)
    server.stop()
    stranger.stop()


def test_a_start_that_fails_releases_the_ports(servers):
    """In this case because another Postgres runs on the same data."""
    first = PostgresServer(servers("postgres"), durable=False)
    first.start()
    second = PostgresServer(first.directory, durable=False)

    with pytest.raises(ServerError):
        second.start()

    with reserve(preferred=second.ports.numbers) as other:
        assert other.ports == second.ports.numbers
    first.stop()


def test_up_uses_another_port_if_a_program_takes_one_in_between(home):
    """The state has the running process and its port, and the progress reports the restart."""
    strangers: list[socket.socket] = []
    lines: list[str] = []

    def take_its_port(line: str) -> None:
        lines.append(line)
        if line.startswith("starting Valkey at port"):
            strangers.append(socket.create_server((HOST, int(line.rsplit(maxsplit=1)[1]))))

    servers = stack.up(home, need=frozenset({"redis"}), on_progress=take_its_port)

    with redis.Redis.from_url(servers.redis_url) as client:
        assert client.ping()
    assert read_state(home)["valkey"].alive
    assert stack.running(home) == servers
    assert any("another program took a port of Valkey" in line for line in lines)
    for stranger in strangers:
        stranger.close()


def test_two_homes_start_at_the_same_time_repeatedly(tmp_path):
    """Two independent processes start all servers at once."""
    started = [_start_rounds(tmp_path / name) for name in ("one", "two")]
    for _ in range(ROUNDS):
        for process in started:
            process.stdin.write("\n")
            process.stdin.flush()
        lines = [next_line(process, "the addresses of all servers") for process in started]
        assert all("postgresql://" in line for line in lines), [p.stderr.read() for p in started]
    for process in started:
        _, errors = process.communicate("\n", timeout=120)
        assert process.returncode == 0, errors


def _start_rounds(home: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", UP_AND_DOWN, str(home), str(ROUNDS)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        cwd=Path(__file__).parents[3], env=os.environ.copy(),
    )  # fmt: skip
