"""Apache Kafka as one node (KRaft), started without its shell scripts."""

import base64
import shutil
import subprocess
import uuid
from collections.abc import Sequence
from pathlib import Path

from ray_pipeline.errors import MissingDependency, ServerError
from ray_pipeline.local.embedded_server import EmbeddedServer
from ray_pipeline.local.kafka.jars import fetch_jars
from ray_pipeline.local.ports import HOST
from ray_pipeline.local.process import ProcessId
from ray_pipeline.local.server_environment import server_environment
from ray_pipeline.local.wire import request_api_versions

LOGGING = Path(__file__).with_name("log4j2.yaml")
QUICK_START = ("-XX:TieredStopAtLevel=1",)  # halves the CPU time of a start; slower afterwards
OPEN = "PLAINTEXT"  # the listener without credentials
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


class KafkaServer(EmbeddedServer):
    """Apache Kafka. Acknowledged records survive a kill, though not always a power cut."""

    kind = "kafka"
    name = "Apache Kafka"
    start_timeout_s = 120.0

    def __init__(
        self,
        directory: Path,
        *,
        port: int = 0,
        log: Path | None = None,
        identity: ProcessId | None = None,
        protocols: Sequence[str] = (),
        java_options: Sequence[str] = QUICK_START,
    ) -> None:
        """Describe a broker with one more listener for each of `protocols`; nothing is started."""
        # In the order of their ports. The controller is for the broker itself, not for clients.
        self._listeners = (OPEN, *protocols, CONTROLLER)
        more_ports = len(self._listeners) - 1
        super().__init__(directory, port=port, more_ports=more_ports, log=log, identity=identity)
        self._java_options = java_options

    @property
    def bootstrap_servers(self) -> str:
        """Where clients connect to the open listener, host:port."""
        return self.address

    def listener(self, protocol: str) -> str:
        """Return where clients connect to the listener of `protocol`, host:port."""
        return f"{HOST}:{self.ports.numbers[self._listeners.index(protocol)]}"

    def prepare(self) -> Sequence[str]:
        """Write the configuration, format the storage at the first start, return the command."""
        java = _java()
        libs = fetch_jars()
        settings = self._write_settings()
        if not (self.directory / "data" / "meta.properties").exists():
            self._format(java, libs, settings)
        return [
            java, "-Xmx512m", *self._java_options, "-cp", f"{libs}/*",
            f"-Dlog4j2.configurationFile={LOGGING}", "kafka.Kafka", str(settings),
        ]  # fmt: skip

    def ping(self) -> None:
        """Request the API versions, and check that every client listener is open."""
        request_api_versions(self.port)
        # Another broker at this port would answer in the same way. Also, the open listener
        # answers a moment before the protected ones are opened.
        self.process.check_listening(self.ports.numbers[:-1])

    def _write_settings(self) -> Path:
        self.directory.mkdir(parents=True, exist_ok=True)
        path = self.directory / "server.properties"
        path.touch(mode=0o600)
        path.write_text("".join(f"{name}={value}\n" for name, value in self.settings().items()))
        return path

    def settings(self) -> dict[str, str]:
        """Return the lines of the broker's configuration."""
        controller = self.listener(CONTROLLER)
        *protocols, _ = self._listeners
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
        }

    def format_arguments(self) -> Sequence[str]:
        """Return further arguments for the format of a new storage."""
        return []

    def _format(self, java: str, libs: Path, settings: Path) -> None:
        # The tool refuses a directory that contains files of an interrupted format.
        shutil.rmtree(self.directory / "data", ignore_errors=True)
        cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        # The id and its option are one argument, because one id in 64 begins with a dash.
        result = subprocess.run(  # noqa: S603 - the command is ours
            [java, *QUICK_START, "-cp", f"{libs}/*", "kafka.tools.StorageTool", "format",
             f"--cluster-id={cluster}", "-c", str(settings), *self.format_arguments()],
            capture_output=True, text=True, check=False, env=server_environment(),
        )  # fmt: skip
        if result.returncode != 0:
            raise ServerError(
                f"Kafka's storage cannot be formatted: {result.stderr.strip()[-1000:]}"
            )


def _java() -> str:
    java = shutil.which("java")
    if java is None:
        raise MissingDependency(
            "Apache Kafka needs Java 17 or newer, which is not installed",
            fix="install it (Debian: apt-get install openjdk-17-jre-headless), "
            "or use the default broker, which runs without Java",
        )
    return java
