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
    properties,
    protected,
)
from ray_pipeline.local.ports import HOST
from ray_pipeline.local.process import ProcessId, ServerProcess
from ray_pipeline.local.server_ports import ServerPorts
from ray_pipeline.local.start import start
from ray_pipeline.local.wire import ask_api_versions

LOGGING = Path(__file__).with_name("log4j2.yaml")
QUICK_START = ("-XX:TieredStopAtLevel=1",)  # half the start's CPU, for a slower broker later on
OPEN = "PLAINTEXT"  # the listener that demands no credentials
CONTROLLER = "CONTROLLER"
ONE_NODE = {
    "process.roles": "broker,controller",
    "node.id": "1",
    "controller.listener.names": CONTROLLER,
    "inter.broker.listener.name": OPEN,
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
        port: int = 0,
        log: Path | None = None,
        identity: ProcessId | None = None,
        security: KafkaSecurity | None = None,
        java_options: Sequence[str] = QUICK_START,
    ) -> None:
        self.directory = directory
        self._security = security
        self.ports = ServerPorts(port, *(0 for _ in (*protected(security), CONTROLLER)))
        self._java_options = java_options
        self.process = ServerProcess(
            "Apache Kafka", log=log or directory / "kafka.log", identity=identity
        )

    @property
    def port(self) -> int:
        """Where the open listener is; 0 before its first start."""
        return self.ports.numbers[0]

    @property
    def bootstrap_servers(self) -> str:
        """Where clients connect to the open listener, host:port."""
        return self.listener(OPEN)

    def listener(self, protocol: str) -> str:
        """Return where clients connect to the listener of `protocol`, host:port."""
        return f"{HOST}:{self._listeners[protocol]}"

    def start(self) -> None:
        """
        Start it on what it holds, and wait until it answers.

        Raises:
            MissingDependency: If Java is absent, or the jars and Maven are.
            ServerError: If it does not start.
        """
        start(self)

    def spawn(self) -> None:
        """
        Start it on what it holds, and do not wait.

        Raises:
            MissingDependency: If Java is absent, or the jars and Maven are.
            ServerError: If it cannot be started.
        """
        java = _java()
        libs = fetch_jars()
        with self.ports.held():
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
        try:
            self.process.wait_ready(self.ping, timeout_s=timeout_s, ports=self.ports.numbers)
        finally:
            self.ports.release()

    def ping(self) -> None:
        """Ask it for an answer; an OSError means that there is none."""
        ask_api_versions(self.port)
        # Another broker at this port would answer in the same way. Besides, the open listener
        # answers a moment before the others are opened.
        self.process.check_listening(self._listeners[name] for name in self._client_listeners)

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

    @property
    def _client_listeners(self) -> tuple[str, ...]:
        return (OPEN, *protected(self._security))

    @property
    def _listeners(self) -> dict[str, int]:
        return dict(zip((*self._client_listeners, CONTROLLER), self.ports.numbers, strict=True))

    def _write_settings(self) -> Path:
        self.directory.mkdir(parents=True, exist_ok=True)
        path = self.directory / "server.properties"
        path.touch(mode=0o600)
        path.write_text("".join(f"{name}={value}\n" for name, value in self._settings().items()))
        return path

    def _settings(self) -> dict[str, str]:
        controller = self.listener(CONTROLLER)
        protocols = self._client_listeners
        clients = ",".join(f"{protocol}://{self.listener(protocol)}" for protocol in protocols)
        return {
            **ONE_NODE,
            "controller.quorum.voters": f"1@{controller}",
            "listeners": f"{clients},{CONTROLLER}://{controller}",
            "advertised.listeners": clients,
            "listener.security.protocol.map": ",".join(
                [f"{CONTROLLER}:{OPEN}", *(f"{protocol}:{protocol}" for protocol in protocols)]
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
