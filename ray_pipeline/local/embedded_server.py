"""What the embedded servers have in common: ports, process, readiness, stop, kill, pause."""

import signal
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from ray_pipeline.local.ports import HOST
from ray_pipeline.local.process import ProcessId, ServerProcess
from ray_pipeline.local.server_ports import ServerPorts
from ray_pipeline.local.start import start


class EmbeddedServer(ABC):
    """
    A server of this machine that keeps its files in one directory.

    A subclass defines how the server is prepared, which command runs it and how it is probed.

    Attributes:
        kind: The server's key in state.json, and the name of its log.
        name: Its name in messages.
        start_timeout_s: How long a start may take.
        stop_signal: The signal that requests an orderly shutdown.
    """

    kind: ClassVar[str]
    name: ClassVar[str]
    start_timeout_s: ClassVar[float] = 30.0
    stop_signal: ClassVar[signal.Signals] = signal.SIGTERM

    def __init__(
        self,
        directory: Path,
        *,
        port: int = 0,
        more_ports: int = 0,
        log: Path | None = None,
        durable: bool = True,
        identity: ProcessId | None = None,
    ) -> None:
        """
        Describe a server; nothing is started.

        Args:
            directory: Where its files are.
            port: The port for clients, replaced if another program uses it; 0 for any free port.
            more_ports: How many further ports it needs.
            log: Its log file; by default in `directory`.
            durable: False for faster writes that a power cut may lose; for Postgres and Valkey.
            identity: Its process, if it is already running.
        """
        self.directory = directory
        self.durable = durable
        self.ports = ServerPorts(port, *[0] * more_ports)
        self.process = ServerProcess(
            self.name, log=log or directory / f"{self.kind}.log", identity=identity
        )

    @property
    def port(self) -> int:
        """The port for clients; 0 before the first start."""
        return self.ports.numbers[0]

    @property
    def address(self) -> str:
        """Where clients connect, host:port."""
        return f"{HOST}:{self.port}"

    @abstractmethod
    def prepare(self) -> Sequence[str]:
        """
        Write the files that the server needs, and return the command that runs it.

        Its ports are chosen and held at this time. After a crash in here, the next call succeeds.

        Raises:
            MissingDependency: If a program or package is not installed.
            ServerError: If the files cannot be written.
        """

    @abstractmethod
    def ping(self) -> None:
        """Make a request; any exception means that the server does not answer yet."""

    def start(self) -> None:
        """
        Start the server on its existing data, and wait until it answers.

        Raises:
            MissingDependency: If a program or package is not installed.
            ServerError: If the server does not start.
        """
        start(self)

    def spawn(self) -> None:
        """
        Start the server on its existing data, and do not wait.

        Raises:
            MissingDependency: If a program or package is not installed.
            ServerError: If the process cannot be started.
        """
        with self.ports.held():
            self.process.spawn(self.prepare())

    def wait_ready(self) -> None:
        """
        Wait until the server answers, which is after any crash recovery; then release its ports.

        Raises:
            PortTaken: If another program listens at one of its ports.
            ServerError: If it ends or exceeds `start_timeout_s`.
        """
        try:
            self.process.wait_ready(
                self.ping, timeout_s=self.start_timeout_s, ports=self.ports.numbers
            )
        finally:
            self.ports.release()

    def stop(self) -> None:
        """Request an orderly shutdown, and wait until the server has ended."""
        self.process.stop(self.stop_signal)
        self.ports.release()

    def kill(self) -> None:
        """Kill the server and its children (`kill -9`), and wait until all have ended."""
        self.process.kill()
        # Clients keep trying the same address. Holding it keeps other programs from answering
        # them before the next start.
        self.ports.hold()

    def pause(self) -> None:
        """Suspend the server and its children; connections stay open without answers."""
        self.process.pause()

    def resume(self) -> None:
        """Continue after `pause`."""
        self.process.resume()
