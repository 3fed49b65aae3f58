"""Broker and databases of a benchmark, in a temporary home."""

import asyncio
import contextlib
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg

from ray_pipeline.local.servers import KafkaServer, PostgresServer, ValkeyServer
from ray_pipeline.storage.migrations import migrate


@dataclass(frozen=True, slots=True)
class Servers:
    """The servers that all measurements share."""

    home: Path
    postgres: PostgresServer
    valkey: ValkeyServer
    kafka: KafkaServer

    def database(self, name: str) -> str:
        """Create an empty database with the schema and return its connection string."""
        return database(self.postgres, name)

    def settings(self, dsn: str) -> dict[str, str]:
        """Return the settings that point at these servers."""
        return {
            "PIPELINE_HOME": str(self.home),
            "PIPELINE_POSTGRES__DSN": dsn,
            "PIPELINE_REDIS__URL": self.valkey.url,
            "PIPELINE_KAFKA__BOOTSTRAP_SERVERS": self.kafka.bootstrap_servers,
            "PIPELINE_ARCHIVE__ENABLED": "false",
        }


def database(postgres: PostgresServer, name: str) -> str:
    """Create an empty database with the schema and return its connection string."""
    with psycopg.connect(postgres.database("postgres"), autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"')
    dsn = postgres.database(name)
    asyncio.run(migrate(dsn))
    return dsn


@contextlib.contextmanager
def temporary_home() -> Iterator[Path]:
    """Create a directory that Postgres' user can enter, and delete it after the block."""
    with tempfile.TemporaryDirectory(prefix="bench-", ignore_cleanup_errors=True) as name:
        home = Path(name)
        home.chmod(0o755)
        yield home


@contextlib.contextmanager
def running() -> Iterator[Servers]:
    """Start the servers, and stop them."""
    with temporary_home() as home, contextlib.ExitStack() as cleanup:
        servers = Servers(
            home,
            PostgresServer(home / "postgres"),
            ValkeyServer(home / "valkey"),
            KafkaServer(home / "kafka", java_options=("-Xmx512m",)),
        )
        for server in (servers.postgres, servers.valkey, servers.kafka):
            cleanup.callback(server.stop)  # registered before the start, which may be interrupted
            server.start()
        yield servers
