"""The shipped Serve applications on a Ray cluster: a killed supervisor and a new generation."""

import asyncio
import json
import re
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import psutil
import psycopg
import pytest
import yaml
from ray.util.state import list_nodes
from websockets.asyncio.client import connect

from ray_pipeline.feeds.feed_registry import FEEDS
from ray_pipeline.local.ports import reserve
from ray_pipeline.observe.metrics import METRICS
from tests.cluster.nodes import Cluster
from tests.cluster.support import COMMAND, SHARED
from tests.support import eventually_sync

SERVE_YAML = Path(__file__).parents[2] / "kuberay" / "overlays" / "lite" / "serve.yaml"
SERVE = [sys.executable, "-m", "ray.serve.scripts"]
# Producers: two shards of sp500 and one of each other feed. Consumers: one for each feed.
ACTORS = (2 + len(FEEDS) - 1) + len(FEEDS)
TOKEN = "a-token-of-this-test"
# The metrics of a run without faults; all other metrics appear after a fault.
EXPECTED = {name for name, metric in METRICS.items()} - {
    "pipeline_reconnects", "pipeline_gaps", "pipeline_dead_letters", "pipeline_runs",
}  # fmt: skip


class Served:
    """The applications of `serve.yaml` on a cluster of one head and one worker node."""

    def __init__(self, cluster: Cluster, folder: Path, *, port: int, metrics_port: int) -> None:
        self.cluster = cluster
        self.worker = cluster.nodes[-1]
        self._folder = folder
        self._port = port
        self._metrics_port = metrics_port

    def deploy(self, *, generation: int) -> None:
        """Deploy the applications on Serve, as the `lite` profile does."""
        config = yaml.safe_load(SERVE_YAML.read_text())
        config["http_options"] = {"host": "127.0.0.1", "port": self._port}
        for one in config["applications"]:
            variables = {"PIPELINE_RAY__GENERATION": str(generation)}
            one["runtime_env"] = {"env_vars": variables}
        file = self._folder / f"serve-{generation}.yaml"
        file.write_text(yaml.safe_dump(config))
        done = subprocess.run(
            [*SERVE, "deploy", "--address", self.cluster.dashboard, str(file)],
            capture_output=True, text=True, check=False, env=self.cluster.environment, timeout=120,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr

    def get(self, path: str, *, token: str = "") -> tuple[int, dict]:
        """Send a request; return status 0 while the server does not answer."""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        request = urllib.request.Request(f"http://127.0.0.1:{self._port}{path}", headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            body = error.read()
            return error.code, json.loads(body) if body.startswith(b"{") else {}
        except OSError:
            return 0, {}

    async def pushed(self, feed: str, symbol: str) -> dict:
        """Subscribe over a WebSocket and return the first message with values."""
        url = f"ws://127.0.0.1:{self._port}/ws/{feed}"
        headers = {"Authorization": f"Bearer {TOKEN}"}
        async with connect(url, additional_headers=headers) as socket:
            await socket.send(json.dumps({"subscribe": [symbol]}))
            async with asyncio.timeout(30):
                while "values" not in (message := json.loads(await socket.recv())):
                    continue
        return message

    def ready(self, *, generation: int) -> bool:
        status, body = self.get("/supervisor/ready")
        return status == 200 and body["generation"] == generation

    def wait_until_ready(self, *, generation: int, gone: frozenset[int] = frozenset()) -> None:
        """Wait until a generation is ready and the given writers of another one have ended."""
        try:
            eventually_sync(
                lambda: self.ready(generation=generation) and not gone & self.writers(),
                timeout_s=150,
                what=f"generation {generation}",
            )
        except AssertionError as error:
            said = json.dumps(
                [
                    self.get("/supervisor/ready", token=TOKEN),
                    self.get("/supervisor/why", token=TOKEN),
                ],
                indent=1,
            )
            raise AssertionError(f"{error}; left: {gone & self.writers()}; {said}") from None

    def worker_id(self) -> str:
        nodes = list_nodes(address=self.cluster.dashboard)
        return next(node["node_id"] for node in nodes if not node["is_head_node"])

    def writers(self) -> set[int]:
        return self.worker.actors("Producer") | self.worker.actors("Consumer")

    def metrics(self) -> str:
        with urllib.request.urlopen(
            f"http://127.0.0.1:{self._metrics_port}/metrics", timeout=30
        ) as answer:
            return answer.read().decode()

    def run(self, *arguments: str) -> subprocess.CompletedProcess:
        environment = self.cluster.environment | {"RAY_ADDRESS": self.cluster.address}
        return subprocess.run(
            [*COMMAND, *arguments],
            env=environment, capture_output=True, text=True, check=False, timeout=120,
        )  # fmt: skip


def leases(served: Served) -> int:
    """Return how many leases have a holder."""
    with psycopg.connect(served.cluster.environment["PIPELINE_POSTGRES__DSN"]) as connection:
        held = "SELECT count(*) FROM leases WHERE expires_at > now()"
        return connection.execute(held).fetchone()[0]


@pytest.fixture
def served(stores, provider, tmp_path):
    servers, env = stores
    environment = servers.environment | SHARED | provider | env | {
        "PIPELINE_API__TOKEN": TOKEN, "PIPELINE_API__READY_S": "20",
    }  # fmt: skip
    cluster = Cluster(redis_url=env["PIPELINE_REDIS__URL"], environment=environment)
    # Held until the end: Serve and the metrics exporter can listen at held ports.
    with reserve(2) as held:
        port, metrics_port = held.ports
        try:
            cluster.start_worker("--metrics-export-port", str(metrics_port))
            yield Served(cluster, tmp_path, port=port, metrics_port=metrics_port)
        finally:
            cluster.close()


def test_the_shipped_applications_keep_a_release_alive_and_replace_it(served):
    """It waits for the schema, serves data and metrics, and survives a kill and a new release."""
    served.deploy(generation=1)
    eventually_sync(lambda: served.get("/supervisor/live")[0] == 200, timeout_s=120, what="live")
    assert served.get("/supervisor/ready")[0] == 503
    assert served.get("/supervisor/why")[0] == 401
    assert served.writers() == set()
    said = eventually_sync(
        lambda: (
            "migrat" in (text := served.get("/supervisor/why", token=TOKEN)[1]["supervisor"])
            and text
        ),
        what="the reason",
    )
    assert "ray-pipeline migrate" in said

    assert served.run("migrate").returncode == 0
    served.wait_until_ready(generation=1)
    first = served.writers()
    assert len(first) == ACTORS

    # The API is the same application as on a laptop.
    status, latest = served.get("/v1/feeds/bithumb/symbols", token=TOKEN)
    assert status == 200
    assert latest["symbols"]
    assert served.get("/v1/feeds/bithumb/symbols")[0] == 401
    assert "values" in asyncio.run(served.pushed("bithumb", latest["symbols"][0]))

    # The metrics contain no key.
    def shown() -> set[str]:
        return set(re.findall(r"^# TYPE ray_(pipeline_\w+?)(?:_total)? ", served.metrics(), re.M))

    eventually_sync(lambda: shown() >= EXPECTED, timeout_s=60, what="metrics")
    stored = re.compile(r'^ray_pipeline_records_stored_total\{[^}]*"bithumb"[^}]*\} (\S+)', re.M)
    found = eventually_sync(lambda: stored.search(served.metrics()), what="Bithumb's total")
    assert float(found[1]) > 0
    page = served.metrics()
    assert "_total_total" not in page
    assert "key-1" not in page

    # The supervisor dies: the actors continue, and the next supervisor finds them.
    replicas = [
        process
        for node in served.cluster.nodes
        for process in node.processes()
        if "ServeReplica:supervisor" in " ".join(process.cmdline())
    ]
    assert replicas
    for process in replicas:
        process.kill()
    psutil.wait_procs(replicas, timeout=30)
    served.wait_until_ready(generation=1)
    assert served.writers() == first

    # A new generation in the same cluster: each actor is replaced when its successor is ready.
    served.deploy(generation=2)
    served.wait_until_ready(generation=2, gone=frozenset(first))
    names = [one["name"] for one in served.get("/supervisor/why", token=TOKEN)[1]["actors"]]
    assert names
    assert all(name.endswith("-g2") for name in names)

    done = served.run("audit", "--json")
    audit = json.loads(done.stdout)
    assert audit["clean"], audit
    for feed in ("sp500", "bithumb"):
        assert audit["feeds"][feed]["duplicates"] == audit["feeds"][feed]["missing"] == 0

    # Before a node ends, its actors release their leases.
    drained = served.run("drain-node", "--node", served.worker_id())
    assert drained.returncode == 0, drained.stdout + drained.stderr
    assert f"{ACTORS} actors of the node" in drained.stdout
    eventually_sync(lambda: leases(served) == 0, what="free leases")
