"""Servers for the tests: one of each kind per test process, started at its first use."""

import asyncio
import itertools
import os
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
import redis
from hypothesis import settings

from ray_pipeline.local.servers import KafkaServer, PostgresServer, TansuServer, ValkeyServer

# The Ray clusters of the tests need a token too, but must not use the user's token.
os.environ["RAY_AUTH_MODE"] = "token"
os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)
os.environ.pop("RAY_AUTH_TOKEN_PATH", None)
# The tests must not read the user's settings, except the folder of Kafka's jars.
for _name in [name for name in os.environ if name.startswith("PIPELINE_")]:
    if _name != "PIPELINE_KAFKA_LIBS":
        del os.environ[_name]

# A deadline of one example measures how busy the machine is, not the code.
settings.register_profile("no-deadline", deadline=None)
settings.load_profile("no-deadline")

pytest_plugins = ["tests.time_limits"]

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def servers_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory for the servers of this test process."""
    return tmp_path_factory.mktemp("servers")


@pytest.fixture(scope="session")
def postgres_server(servers_dir: Path) -> Iterator[PostgresServer]:
    """PostgreSQL, shared by all tests of this process."""
    server = PostgresServer(servers_dir / "postgres", durable=False)
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def redis_server(servers_dir: Path) -> Iterator[ValkeyServer]:
    """Valkey, shared by all tests of this process."""
    server = ValkeyServer(servers_dir / "valkey", durable=False)
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def kafka_server(servers_dir: Path) -> Iterator[KafkaServer]:
    """Apache Kafka, shared by all tests of this process."""
    server = KafkaServer(servers_dir / "kafka")
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def tansu_server(servers_dir: Path) -> Iterator[TansuServer]:
    """Tansu, shared by all tests of this process."""
    server = TansuServer(servers_dir / "tansu")
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def migrated_template(postgres_server: PostgresServer) -> str:
    """The name of a database with the schema, from which tests copy theirs."""
    name = "template_migrated"
    with psycopg.connect(postgres_server.database("postgres"), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    _migrate(postgres_server.database(name))
    return name


def _migrate(dsn: str) -> None:
    # Imported late, because tests of the servers alone need no schema.
    from ray_pipeline.storage.migrations import migrate

    asyncio.run(migrate(dsn))


def _database(server: PostgresServer, template: str) -> Iterator[str]:
    name = f"test_{next(_numbers)}"
    with psycopg.connect(server.database("postgres"), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        yield server.database(name)
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def empty_dsn(postgres_server: PostgresServer) -> Iterator[str]:
    """A database for this test only, without tables."""
    yield from _database(postgres_server, "template0")


@pytest.fixture
def postgres_dsn(postgres_server: PostgresServer, migrated_template: str) -> Iterator[str]:
    """A database for this test only, with the schema."""
    yield from _database(postgres_server, migrated_template)


@pytest.fixture
def redis_url(redis_server: ValkeyServer) -> str:
    """An empty Redis for this test."""
    with redis.Redis.from_url(redis_server.url) as client:
        client.flushall()
    return redis_server.url


@pytest.fixture
def kafka_bootstrap(kafka_server: KafkaServer) -> str:
    """The address of the shared Apache Kafka; each test uses topics with its `topic_prefix`."""
    return kafka_server.bootstrap_servers


@pytest.fixture
def topic_prefix() -> str:
    """A prefix of topics for this test only."""
    return f"t{os.getpid()}-{next(_numbers)}-"


@pytest.fixture
def servers(servers_dir: Path) -> Callable[[str], Path]:
    """Returns directories for servers that a test starts and stops itself."""
    return lambda name: servers_dir / f"{name}-{next(_numbers)}"


@pytest.fixture
def own_postgres(servers: Callable[[str], Path]) -> Iterator[PostgresServer]:
    """A PostgreSQL for this test only, which may break it; its database has the schema."""
    server = PostgresServer(servers("postgres"))
    server.start()
    _migrate(server.dsn)
    yield server
    server.stop()


@pytest.fixture
def own_redis(servers: Callable[[str], Path]) -> Iterator[ValkeyServer]:
    """A Valkey for this test only, which may break it."""
    server = ValkeyServer(servers("valkey"))
    server.start()
    yield server
    server.stop()


@pytest.fixture
def own_tansu(servers: Callable[[str], Path]) -> Iterator[TansuServer]:
    """A Tansu for this test only, which may break it."""
    server = TansuServer(servers("tansu"))
    server.start()
    yield server
    server.stop()


@pytest.fixture
def own_kafka(servers: Callable[[str], Path]) -> Iterator[KafkaServer]:
    """An Apache Kafka for this test only, which may break it."""
    server = KafkaServer(servers("kafka"))
    server.start()
    yield server
    server.stop()
