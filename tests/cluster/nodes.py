"""A Ray cluster of several nodes on one machine, each a process group that can be killed alone."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from urllib.parse import urlsplit

import psutil

from ray_pipeline.local.ports import reserve
from tests.support import eventually_sync

RAY = [sys.executable, "-m", "ray.scripts.scripts"]
OBJECT_STORE_BYTES = str(80 * 2**20)
# Declare a node that does not answer dead after about five seconds, not after a minute.
DETECTION = {
    "RAY_health_check_initial_delay_ms": "2000",
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_timeout_ms": "2000",
    "RAY_health_check_failure_threshold": "3",
}


class Node:
    """`ray start --block` in a process group of its own."""

    def __init__(self, *options: str, environment: dict[str, str], log: Path) -> None:
        self._log = log
        command = [
            *RAY, "start", "--block", "--node-ip-address", "127.0.0.1",
            # 0: any free port. The default ports would be the same for every node of this machine.
            "--dashboard-agent-listen-port", "0",
            "--min-worker-port", "0", "--max-worker-port", "0",
            "--object-store-memory", OBJECT_STORE_BYTES, "--disable-usage-stats", *options,
        ]  # fmt: skip
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                command, env=environment, stdin=subprocess.DEVNULL, stdout=output,
                stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip

    def processes(self) -> list[psutil.Process]:
        try:
            parent = psutil.Process(self._process.pid)
            return [parent, *parent.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []

    def actors(self, kind: str) -> set[int]:
        """Return the pids of this node's actors of a kind."""
        found = set()
        for process in self.processes():
            try:
                if f"ray::{kind}" in " ".join(process.cmdline()):
                    found.add(process.pid)
            except psutil.NoSuchProcess:
                continue
        return found

    def raylet(self) -> psutil.Process:
        (raylet,) = [process for process in self.processes() if _name(process) == "raylet"]
        return raylet

    def kill(self) -> None:
        """Kill all processes of the node, as a power cut would."""
        mine = self.processes()
        for process in mine:
            try:
                process.send_signal(signal.SIGCONT)
                process.kill()
            except psutil.NoSuchProcess:
                continue
        psutil.wait_procs(mine, timeout=30)
        self._process.wait(30)

    def text(self) -> str:
        """Return what the node has printed."""
        return self._log.read_text(errors="replace")

    def started(self) -> None:
        eventually_sync(
            lambda: (
                "Ray runtime started" in self._log.read_text() or self._process.poll() is not None
            ),
            timeout_s=90,
            what="a node of Ray",
        )
        assert self._process.poll() is None, self._log.read_text()[-3000:]


class Cluster:
    """A head that runs no actors, keeps its state in Redis, and can be restarted."""

    def __init__(self, *, redis_url: str, environment: dict[str, str]) -> None:
        # A short path: the path of a socket has at most 107 characters.
        self._base = Path(tempfile.mkdtemp(prefix="rp-"))
        ports = reserve(2)
        self._port, self._dashboard_port = ports.ports
        self.address = f"127.0.0.1:{self._port}"
        self.dashboard = f"http://127.0.0.1:{self._dashboard_port}"
        url = urlsplit(redis_url)
        self._redis_password = url.password or ""
        self.environment = os.environ | environment | DETECTION
        self._redis = {"RAY_REDIS_ADDRESS": f"{url.hostname}:{url.port}"}
        self.nodes: list[Node] = []
        with ports:
            self.head = self.start_head()

    def start_head(self) -> Node:
        """Start a head and wait until it is ready."""
        self.begin_head().started()
        return self.head

    def begin_head(self) -> Node:
        """Start a head."""
        # A killed head leaves its address in a file, which all nodes of this machine share.
        (self._base / "ray_current_cluster").unlink(missing_ok=True)
        self.head = self._begin(
            "--head", "--port", str(self._port), "--num-cpus", "0",
            "--dashboard-host", "127.0.0.1", "--dashboard-port", str(self._dashboard_port),
            "--temp-dir", str(self._base), "--redis-password", self._redis_password,
            extra=self._redis,
        )  # fmt: skip
        return self.head

    def start_worker(self, *options: str) -> Node:
        """Start a worker node and wait until it is ready."""
        node = self._begin("--address", self.address, "--num-cpus", "8", *options)
        node.started()
        return node

    def _begin(self, *options: str, extra: dict[str, str] | None = None) -> Node:
        log = self._base / f"node-{len(self.nodes)}.log"
        node = Node(*options, environment=self.environment | (extra or {}), log=log)
        self.nodes.append(node)
        return node

    def close(self) -> None:
        for node in reversed(self.nodes):
            node.kill()
        shutil.rmtree(self._base, ignore_errors=True)


def _name(process: psutil.Process) -> str:
    try:
        return process.name()
    except psutil.NoSuchProcess:  # workers start and end all the time
        return ""
