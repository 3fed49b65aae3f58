"""A node is drained while records flow: its actors move to another node first."""

import json
import subprocess
import sys

import pytest

from tests.cluster.nodes import Cluster
from tests.cluster.support import COMMAND, SHARED
from tests.support import eventually_sync

FEEDS = ("sp500", "bithumb", "upbit")


class Drained:
    """The streaming actors on one worker node, and a second node that is free."""

    def __init__(self, cluster: Cluster, servers, environment: dict[str, str]) -> None:
        self.cluster = cluster
        self.servers = servers
        self.environment = environment | {"RAY_ADDRESS": cluster.address}

    def run(self, *arguments: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            [sys.executable, *arguments],
            env=self.environment, capture_output=True, text=True, check=False, timeout=300,
        )  # fmt: skip

    def fleet(self, verb: str) -> None:
        done = self.run("-m", "tests.cluster.fleet", verb)
        assert done.returncode == 0, done.stdout + done.stderr

    def worker_id(self) -> str:
        script = (
            "import ray; ray.init(logging_level='ERROR');"
            "print(*(n['NodeID'] for n in ray.nodes() if n['Alive'] and 'CPU' in n['Resources']))"
        )
        done = self.run("-c", script)
        return done.stdout.split()[-1]

    def goes_on(self) -> None:
        before = self.servers.stored_of_feeds()
        eventually_sync(
            lambda: all(
                self.servers.stored_of_feeds().get(feed, 0) > before.get(feed, 0) + 20
                for feed in FEEDS
            ),
            timeout_s=120,
            what="more rows of each feed",
        )

    def gaps(self) -> set[str]:
        """Return the feeds that have a gap because no producer collected."""
        rows = self.servers.rows("SELECT DISTINCT feed FROM gaps WHERE kind = 'producer_down'")
        return {feed for (feed,) in rows}


@pytest.fixture
def drained(stores, provider):
    servers, env = stores
    environment = servers.environment | SHARED | provider | env
    cluster = Cluster(redis_url=env["PIPELINE_REDIS__URL"], environment=environment)
    try:
        cluster.start_worker()
        found = Drained(cluster, servers, cluster.environment)
        found.fleet("start")
        found.goes_on()
        yield found
    finally:
        cluster.close()


def test_the_producers_of_a_drained_node_hand_over_to_another_node(drained):
    """Their successors are there when it ends; nothing is doubled, and the handover is a gap."""
    first, node = drained.cluster.nodes[-1], drained.worker_id()
    producers = len(first.actors("Producer"))
    second = drained.cluster.start_worker()

    done = drained.run(*COMMAND[1:], "drain-node", "--node", node)

    assert done.returncode == 0, done.stdout + done.stderr
    # The command returns after the handover: all successors are there, and no producer is left.
    assert len(second.actors("Producer")) == producers
    assert first.actors("Producer") == set()
    drained.goes_on()
    assert set(FEEDS) <= drained.gaps()

    # The supervisor knows the moved actors: it starts no second one.
    drained.fleet("start")
    assert len(second.actors("Producer")) == producers
    drained.fleet("stop")
    audit = json.loads(drained.run(*COMMAND[1:], "audit", "--json").stdout)
    assert audit["clean"], audit
    for feed in FEEDS:
        assert audit["feeds"][feed]["duplicates"] == audit["feeds"][feed]["missing"] == 0
