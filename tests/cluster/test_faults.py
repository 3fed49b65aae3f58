"""Nodes of a Ray cluster die or freeze while records flow; the audit finds no loss afterwards."""

import json
import signal
import subprocess
import sys

import pytest

from tests.cluster.nodes import Cluster
from tests.cluster.support import COMMAND, SHARED
from tests.support import eventually_sync


class Streaming:
    """The streaming actors of a cluster, and the stores that they share."""

    def __init__(self, cluster: Cluster, servers, environment: dict[str, str]) -> None:
        self.cluster = cluster
        self.servers = servers
        self.environment = environment | {"RAY_ADDRESS": cluster.address}

    def fleet(self, verb: str) -> None:
        done = subprocess.run(
            [sys.executable, "-m", "tests.cluster.fleet", verb],
            env=self.environment, capture_output=True, text=True, check=False, timeout=120,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr

    def goes_on(self) -> None:
        """Wait until each streaming feed has stored further records."""
        before = self.servers.stored_of_feeds()
        eventually_sync(
            lambda: all(
                self.servers.stored_of_feeds()[feed] > before[feed] + 50
                for feed in ("sp500", "bithumb")
            ),
            timeout_s=90,
            what="more rows of both feeds",
        )

    def audit(self) -> dict:
        done = subprocess.run(
            [*COMMAND, "audit", "--json"],
            env=self.environment, capture_output=True, text=True, check=False, timeout=120,
        )  # fmt: skip
        return json.loads(done.stdout)


@pytest.fixture
def streaming(stores, provider):
    """Actors that stream on a cluster of a head and one worker node."""
    servers, env = stores
    environment = servers.environment | SHARED | provider | env
    cluster = Cluster(redis_url=env["PIPELINE_REDIS__URL"], environment=environment)
    try:
        cluster.start_worker()
        found = Streaming(cluster, servers, cluster.environment)
        found.fleet("start")
        eventually_sync(
            lambda: {"sp500", "bithumb"} <= set(servers.stored_of_feeds()),
            timeout_s=120,
            what="the first rows",
        )
        yield found
    finally:
        cluster.close()


def test_streaming_outlives_its_head_its_nodes_and_a_frozen_raylet(streaming):
    """The head restarts, a worker node dies, a raylet freezes: no record is lost or doubled."""
    cluster, first = streaming.cluster, streaming.cluster.nodes[-1]

    # The head dies: the actors neither end nor wait for it.
    writers = first.actors("Producer") | first.actors("Consumer")
    assert writers
    cluster.head.kill()
    streaming.goes_on()
    cluster.start_head()
    streaming.goes_on()
    assert first.actors("Producer") | first.actors("Consumer") == writers
    streaming.fleet("start")  # finds each actor by its name, because the head has kept its state
    assert first.actors("Producer") | first.actors("Consumer") == writers

    # A node dies: its actors restart on another node.
    second = cluster.start_worker()
    first.kill()
    eventually_sync(lambda: second.actors("Producer"), timeout_s=120, what="producers elsewhere")
    streaming.goes_on()

    # A raylet freezes: Ray declares it dead and starts second copies of actors that still run.
    third = cluster.start_worker()
    frozen = second.raylet()
    writers = second.actors("Producer")
    frozen.send_signal(signal.SIGSTOP)
    eventually_sync(lambda: third.actors("Producer"), timeout_s=120, what="second copies")
    assert second.actors("Producer") == writers
    streaming.goes_on()
    frozen.send_signal(signal.SIGCONT)
    eventually_sync(
        lambda: not second.actors("Producer"), timeout_s=60, what="the end of the first"
    )
    streaming.goes_on()

    # The consumers stay, because one may be taking over from the frozen node.
    streaming.fleet("stop")
    audit = streaming.audit()
    assert audit["clean"], audit
    for feed in ("sp500", "bithumb"):
        assert audit["feeds"][feed]["duplicates"] == 0
        assert audit["feeds"][feed]["missing"] == 0
    assert audit["feeds"]["sp500"]["gaps"] >= 1  # while the node's actors were gone
