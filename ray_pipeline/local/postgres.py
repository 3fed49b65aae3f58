"""PostgreSQL in a directory of its own, under root as well as under an ordinary user."""

import signal
from collections.abc import Sequence

import psycopg

from ray_pipeline.local.embedded_server import EmbeddedServer
from ray_pipeline.local.password import password_of
from ray_pipeline.local.ports import HOST
from ray_pipeline.local.postgres_data import (
    DATABASE,
    SUPERUSER,
    command,
    data_dir,
    ensure_data,
    ensure_socket_dir,
    remove_stale_lock,
    socket_dir,
)

SETTINGS = {
    "listen_addresses": HOST,
    "shared_buffers": "256MB",
    "max_wal_size": "4GB",
    # LZ4 would pay off, but the wheel is built without it, and pglz costs more than it saves.
    "wal_compression": "off",
    "checkpoint_timeout": "15min",
    "max_connections": "200",
    "synchronous_commit": "on",
    "timezone": "UTC",
    "log_timezone": "UTC",
}


class PostgresServer(EmbeddedServer):
    """
    PostgreSQL. Committed data survives a kill and a power cut.

    With `durable=False`, for tests, it survives a kill only.
    """

    kind = "postgres"
    name = "PostgreSQL"
    start_timeout_s = 120.0
    # A "fast" shutdown: transactions are rolled back and connections closed. SIGTERM would wait
    # for every client to disconnect.
    stop_signal = signal.SIGINT

    @property
    def dsn(self) -> str:
        """Connection string of the database `pipeline`, over TCP."""
        return self.database(DATABASE)

    def database(self, name: str) -> str:
        """Return the connection string of the database `name`, over TCP."""
        return f"postgresql://{SUPERUSER}:{password_of(self.directory)}@{self.address}/{name}"

    def prepare(self) -> Sequence[str]:
        """Create the data directory at the first start, and return the command."""
        ensure_data(self.directory, durable=self.durable)
        ensure_socket_dir(self.directory)
        remove_stale_lock(self.directory)
        settings = SETTINGS | {
            "port": str(self.port),
            "unix_socket_directories": str(socket_dir(self.directory)),
            "fsync": "on" if self.durable else "off",
        }
        options = [item for name, value in settings.items() for item in ("-c", f"{name}={value}")]
        return command(self.directory, "postgres", "-D", str(data_dir(self.directory)), *options)

    def ping(self) -> None:
        """Run a query."""
        with psycopg.connect(self.dsn, connect_timeout=2) as connection:
            connection.execute("SELECT 1")
