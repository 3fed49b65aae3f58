"""Servers for the tests: one of each kind per test process, started when first asked for."""

import itertools
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
import redis

from ray_pipeline.local.servers import KafkaServer, PostgresServer, TansuServer, ValkeyServer

# Ray's tests and ours must not read or write a token of the user's.
os.environ.setdefault("RAY_AUTH_MODE", "disabled")
for _name in [name for name in os.environ if name.startswith("PIPELINE_")]:
    if _name != "PIPELINE_KAFKA_LIBS":
        del os.environ[_name]

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def servers_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory that the servers' users may pass through."""
    path = tmp_path_factory.mktemp("servers")
    for parent in (path, *path.parents[:3]):
        parent.chmod(parent.stat().st_mode | 0o011)
    return path


@pytest.fixture(scope="session")
def postgres_server(servers_dir: Path) -> Iterator[PostgresServer]:
    """A PostgreSQL that all tests of this process share."""
    server = PostgresServer(servers_dir / "postgres")
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def redis_server(servers_dir: Path) -> Iterator[ValkeyServer]:
    """A Valkey that all tests of this process share."""
    server = ValkeyServer(servers_dir / "valkey")
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def kafka_server(servers_dir: Path) -> Iterator[KafkaServer]:
    """An Apache Kafka that all tests of this process share."""
    server = KafkaServer(servers_dir / "kafka")
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def tansu_server(servers_dir: Path) -> Iterator[TansuServer]:
    """A Tansu that all tests of this process share."""
    server = TansuServer(servers_dir / "tansu")
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def migrated_template(postgres_server: PostgresServer) -> str:
    """The name of a database with the schema, to be copied."""
    import asyncio

    from ray_pipeline.io.migrations import migrate

    name = "template_migrated"
    with psycopg.connect(postgres_server.database("postgres"), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    asyncio.run(migrate(postgres_server.database(name)))
    return name


def _database(server: PostgresServer, template: str) -> Iterator[str]:
    name = f"test_{next(_numbers)}"
    with psycopg.connect(server.database("postgres"), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        yield server.database(name)
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def empty_dsn(postgres_server: PostgresServer) -> Iterator[str]:
    """A database of this test's own, without tables."""
    yield from _database(postgres_server, "template0")


@pytest.fixture
def postgres_dsn(postgres_server: PostgresServer, migrated_template: str) -> Iterator[str]:
    """A database of this test's own, with the schema."""
    yield from _database(postgres_server, migrated_template)


@pytest.fixture
def redis_url(redis_server: ValkeyServer) -> Iterator[str]:
    """An empty Redis for this test."""
    with redis.Redis.from_url(redis_server.url) as client:
        client.flushall()
    yield redis_server.url


@pytest.fixture
def topic_prefix() -> str:
    """A prefix that makes topics this test's own."""
    return f"t{os.getpid()}-{next(_numbers)}-"


@pytest.fixture
def own_postgres(tmp_path_factory: pytest.TempPathFactory, servers_dir: Path) -> Iterator[PostgresServer]:
    """A PostgreSQL that this test may break; migrated."""
    import asyncio

    from ray_pipeline.io.migrations import migrate

    server = PostgresServer(servers_dir / f"postgres-{next(_numbers)}")
    server.start()
    asyncio.run(migrate(server.dsn))
    yield server
    server.stop()


@pytest.fixture
def own_redis(servers_dir: Path) -> Iterator[ValkeyServer]:
    """A Valkey that this test may break."""
    server = ValkeyServer(servers_dir / f"valkey-{next(_numbers)}")
    server.start()
    yield server
    server.stop()


@pytest.fixture
def own_kafka(servers_dir: Path) -> Iterator[KafkaServer]:
    """An Apache Kafka that this test may break."""
    server = KafkaServer(servers_dir / f"kafka-{next(_numbers)}")
    server.start()
    yield server
    server.stop()


@pytest.fixture
def servers(servers_dir: Path) -> Iterator[Callable[[str], Path]]:
    """A maker of directories for servers that a test starts itself."""
    yield lambda name: servers_dir / f"{name}-{next(_numbers)}"
