"""Apache Kafka, one node (KRaft), without its shell scripts."""

import base64
import shutil
import subprocess
import uuid
from collections.abc import Sequence
from pathlib import Path

from ray_pipeline.errors import MissingDependency, ServerError
from ray_pipeline.local.kafka.jars import fetch_jars
from ray_pipeline.local.kafka.security import (
    KafkaSecurity,
    format_arguments,
    listeners,
    properties,
)
from ray_pipeline.local.ports import HOST, free_port
from ray_pipeline.local.process import ProcessId, ServerProcess
from ray_pipeline.local.wire import ask_api_versions

LOGGING = Path(__file__).with_name("log4j2.yaml")
QUICK_START = ("-XX:TieredStopAtLevel=1",)  # half the start's CPU, for a slower broker later on
ONE_NODE = {
    "process.roles": "broker,controller",
    "node.id": "1",
    "controller.listener.names": "CONTROLLER",
    "inter.broker.listener.name": "PLAINTEXT",
    "num.partitions": "1",
    "auto.create.topics.enable": "false",
    "offsets.topic.replication.factor": "1",
    "offsets.topic.num.partitions": "1",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    "group.initial.rebalance.delay.ms": "0",
    # After a kill -9 the controller waits for the old broker's session to end: 2 s instead of 9.
    "broker.session.timeout.ms": "2000",
    "broker.heartbeat.interval.ms": "500",
}


class KafkaServer:
    """Apache Kafka. What it has acknowledged survives a kill, though not always a power cut."""

    def __init__(
        self,
        directory: Path,
        *,
        port: int | None = None,
        log: Path | None = None,
        identity: ProcessId | None = None,
        security: KafkaSecurity | None = None,
        java_options: Sequence[str] = QUICK_START,
    ) -> None:
        self.directory = directory
        self.port = free_port() if port is None else port
        self._security = security
        self._java_options = java_options
        self.process = ServerProcess(
            "Apache Kafka", log=log or directory / "kafka.log", identity=identity
        )

    @property
    def bootstrap_servers(self) -> str:
        """Where clients connect to the open listener, host:port."""
        return f"{HOST}:{self.port}"

    def start(self) -> None:
        """
        Start it on what it holds, and wait until it answers.

        Raises:
            MissingDependency: If Java is absent, or the jars and Maven are.
            ServerError: If it does not start.
        """
        self.spawn()
        self.wait_ready()

    def spawn(self) -> None:
        """
        Start it on what it holds, and do not wait.

        Raises:
            MissingDependency: If Java is absent, or the jars and Maven are.
            ServerError: If it cannot be started.
        """
        java = _java()
        libs = fetch_jars()
        settings = self._write_settings()
        if not self._formatted():
            self._format(java, libs, settings)
        self.process.spawn(
            [java, "-Xmx512m", *self._java_options, "-cp", f"{libs}/*",
             f"-Dlog4j2.configurationFile={LOGGING}", "kafka.Kafka", str(settings)]
        )  # fmt: skip

    def wait_ready(self, *, timeout_s: float = 120.0) -> None:
        """
        Wait until it answers, which is after it has checked its logs.

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

    def _write_settings(self) -> Path:
        self.directory.mkdir(parents=True, exist_ok=True)
        path = self.directory / "server.properties"
        path.touch(mode=0o600)
        path.write_text("".join(f"{name}={value}\n" for name, value in self._settings().items()))
        return path

    def _settings(self) -> dict[str, str]:
        controller = f"{HOST}:{free_port()}"
        ports = {"PLAINTEXT": self.port, **listeners(self._security)}
        clients = ",".join(f"{protocol}://{HOST}:{port}" for protocol, port in ports.items())
        return {
            **ONE_NODE,
            "controller.quorum.voters": f"1@{controller}",
            "listeners": f"{clients},CONTROLLER://{controller}",
            "advertised.listeners": clients,
            "listener.security.protocol.map": ",".join(
                ["CONTROLLER:PLAINTEXT", *(f"{protocol}:{protocol}" for protocol in ports)]
            ),
            "log.dirs": str(self.directory / "data"),
            **properties(self._security),
        }

    def _formatted(self) -> bool:
        return (self.directory / "data" / "meta.properties").exists()

    def _format(self, java: str, libs: Path, settings: Path) -> None:
        # A format that was cut off left files that the tool would refuse to touch.
        shutil.rmtree(self.directory / "data", ignore_errors=True)
        cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        # In one word with its option: one id in 64 begins with a dash.
        done = subprocess.run(  # noqa: S603 - the command is ours
            [java, *QUICK_START, "-cp", f"{libs}/*", "kafka.tools.StorageTool", "format",
             f"--cluster-id={cluster}", "-c", str(settings), *format_arguments(self._security)],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode != 0:
            raise ServerError(f"Kafka's storage was not formatted: {done.stderr.strip()[-1000:]}")


def _java() -> str:
    java = shutil.which("java")
    if java is None:
        raise MissingDependency(
            "Apache Kafka needs Java 17 or newer, and there is none",
            fix="install it (Debian: apt-get install openjdk-17-jre-headless), "
            "or use the default broker, which needs none",
        )
    return java
