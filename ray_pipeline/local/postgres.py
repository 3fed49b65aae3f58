"""PostgreSQL in a directory of its own, under root as well as under an ordinary user."""

import signal
from pathlib import Path

import psycopg

from ray_pipeline.local.password import password_of
from ray_pipeline.local.ports import HOST
from ray_pipeline.local.postgres_data import (
    DATABASE,
    SUPERUSER,
    command,
    data_dir,
    ensure_data,
    ensure_socket_dir,
    forget_dead_server,
    socket_dir,
)
from ray_pipeline.local.process import ProcessId, ServerProcess
from ray_pipeline.local.server_ports import ServerPorts
from ray_pipeline.local.start import start

SETTINGS = {
    "listen_addresses": HOST,
    "shared_buffers": "256MB",
    "max_wal_size": "4GB",
    # LZ4 would be worth it, but the wheel is built without, and pglz costs more than it saves.
    "wal_compression": "off",
    "checkpoint_timeout": "15min",
    "max_connections": "200",
    "synchronous_commit": "on",
    "timezone": "UTC",
    "log_timezone": "UTC",
}


class PostgresServer:
    """
    PostgreSQL, which keeps what it has committed.

    Not `durable`, it still does in a kill, but not in a power cut: for tests.
    """

    def __init__(
        self,
        directory: Path,
        *,
        port: int = 0,
        log: Path | None = None,
        durable: bool = True,
        identity: ProcessId | None = None,
    ) -> None:
        self.directory = directory
        self.ports = ServerPorts(port)
        self._durable = durable
        self.process = ServerProcess(
            "PostgreSQL", log=log or directory / "postgres.log", identity=identity
        )

    @property
    def port(self) -> int:
        """Where it listens; 0 before its first start."""
        return self.ports.numbers[0]

    @property
    def dsn(self) -> str:
        """Connection string of the database `pipeline`, over TCP."""
        return self.database(DATABASE)

    @property
    def socket_dsn(self) -> str:
        """Connection string of the same database over the Unix socket, which is a little faster."""
        place = f"host={socket_dir(self.directory)}&port={self.port}"
        return f"postgresql://{SUPERUSER}:{password_of(self.directory)}@/{DATABASE}?{place}"

    def database(self, name: str) -> str:
        """Return the connection string of the database `name`, over TCP."""
        return f"postgresql://{SUPERUSER}:{password_of(self.directory)}@{HOST}:{self.port}/{name}"

    def start(self) -> None:
        """
        Start it on its data, which are made at the first time, and wait until it answers.

        Raises:
            MissingDependency: If the `local` extra is not installed, or setpriv under root.
            ServerError: If it does not start.
        """
        start(self)

    def spawn(self) -> None:
        """
        Start it on its data, which are made at the first time, and do not wait.

        A start that was cut off leaves nothing that the next one cannot use.

        Raises:
            MissingDependency: If the `local` extra is not installed, or setpriv under root.
            ServerError: If it cannot be started.
        """
        ensure_data(self.directory, durable=self._durable)
        ensure_socket_dir(self.directory)
        forget_dead_server(self.directory)
        with self.ports.held():
            arguments = ["-D", str(data_dir(self.directory)), *self._options()]
            self.process.spawn(command(self.directory, "postgres", *arguments))

    def wait_ready(self, *, timeout_s: float = 120.0) -> None:
        """
        Wait until it answers, which is after it has recovered from a crash.

        Raises:
            ServerError: If it does not.
        """
        try:
            self.process.wait_ready(self.ping, timeout_s=timeout_s, ports=self.ports.numbers)
        finally:
            self.ports.release()

    def ping(self) -> None:
        """Ask it for an answer; whatever the client raises means that there is none."""
        with psycopg.connect(self.dsn, connect_timeout=2) as connection:
            connection.execute("SELECT 1")

    def stop(self) -> None:
        """Shut it down: connections are ended, transactions rolled back, data written."""
        self.process.stop(signal.SIGINT)
        self.ports.release()

    def kill(self) -> None:
        """Kill it and its backends (`kill -9`), and wait until all are gone."""
        self.process.kill()
        self.ports.hold()  # for the next start

    def pause(self) -> None:
        """Freeze it and its backends; connections stay open and unanswered."""
        self.process.pause()

    def resume(self) -> None:
        """Let it go on after `pause`."""
        self.process.resume()

    def _options(self) -> list[str]:
        settings = SETTINGS | {
            "port": str(self.port),
            "unix_socket_directories": str(socket_dir(self.directory)),
            "fsync": "on" if self._durable else "off",
        }
        return [item for name, value in settings.items() for item in ("-c", f"{name}={value}")]
