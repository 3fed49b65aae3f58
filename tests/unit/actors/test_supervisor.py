"""Rounds of the supervisor on a cluster that exists in a dict only."""

import pytest

from ray_pipeline import settings
from ray_pipeline.actors import ray_runtime, reconcile
from ray_pipeline.actors.desired import Desired
from ray_pipeline.actors.ray_runtime import ActorUnreachable
from ray_pipeline.actors.supervisor import Supervisor

PRODUCER = Desired("producer", "producer-bithumb-g2", ("bithumb", 0))
CONSUMER = Desired("consumer", "consumer-bithumb-0-g2", ("bithumb", [0]))
ARCHIVER = Desired("archiver", "archiver-g2", ())
OLD_PRODUCER, OLD_ARCHIVER = "producer-bithumb-g1", "archiver-g1"


class Handle:
    """An actor with a status, None if it does not answer; keeps what is done to it."""

    def __init__(self, cluster, name, status):
        self.cluster, self.name, self.status = cluster, name, status

    async def call(self, _method, *, timeout_s=0.0):
        if self.status is None:
            raise ActorUnreachable("status: timed out")
        return self.status

    async def stop(self, _name, *, drain_s):
        return self.status is not None

    def kill(self, *, restart):
        self.cluster.events.append(("restart" if restart else "end", self.name))
        if not restart:
            del self.cluster.actors[self.name]


class Cluster:
    """Living actors by name; a new one has the status of `fresh`."""

    def __init__(self):
        self.actors, self.events = {}, []
        self.fresh = {"state": "streaming", "valid": True}

    def add(self, name, status):
        self.actors[name] = Handle(self, name, status)
        return self.actors[name]

    def living(self, _namespace):
        return set(self.actors)

    def find(self, name, _namespace):
        return self.actors.get(name)

    def start(self, desired, _settings):
        self.events.append(("start", desired.name))
        return self.add(desired.name, self.fresh)


@pytest.fixture
def cluster(monkeypatch):
    created = Cluster()
    for name in ("living", "find", "start"):
        monkeypatch.setattr(ray_runtime, name, getattr(created, name))
    return created


def supervisor(*desired):
    return Supervisor(settings.load(ray={"generation": 2}), desired)


async def test_a_missing_actor_starts_and_its_status_is_read(cluster):
    """The next round finds nothing to do."""
    supervising = supervisor(PRODUCER)

    assert not await supervising.reconcile()
    assert not await supervising.reconcile()

    assert cluster.events == [("start", PRODUCER.name)]
    assert supervising.statuses == {PRODUCER.name: cluster.fresh}


async def test_an_old_actor_ends_when_its_successor_is_at_work(cluster):
    """While the successor waits for the lease, the old one collects."""
    cluster.add(OLD_PRODUCER, {"state": "streaming", "valid": True})
    cluster.fresh = {"state": "waiting", "valid": False}
    supervising = supervisor(PRODUCER)

    assert await supervising.reconcile()
    assert cluster.events == [("start", PRODUCER.name)]

    cluster.actors[PRODUCER.name].status = {"state": "streaming", "valid": True}
    assert await supervising.reconcile()
    assert cluster.events[1:] == [("end", OLD_PRODUCER)]


async def test_an_old_actor_without_a_key_ends_before_its_successor_has_one(cluster):
    """Neither has anything to hand over."""
    cluster.add(OLD_PRODUCER, {"state": "no_key"})
    cluster.fresh = {"state": "no_key", "valid": False}

    await supervisor(PRODUCER).reconcile()

    assert cluster.events == [("start", PRODUCER.name), ("end", OLD_PRODUCER)]


async def test_an_exclusive_actor_ends_first(cluster):
    """Two archivers would write the same files."""
    cluster.add(OLD_ARCHIVER, {"state": "archiving"})
    supervising = supervisor(ARCHIVER)

    await supervising.reconcile()

    assert cluster.events[0] == ("end", OLD_ARCHIVER)


async def test_an_unresponsive_actor_is_restarted(cluster, monkeypatch):
    """And shown as unreachable until it answers."""
    monkeypatch.setattr(reconcile, "UNRESPONSIVE_S", 0.0)
    cluster.add(PRODUCER.name, None)
    supervising = supervisor(PRODUCER)

    await supervising.reconcile()

    assert cluster.events == [("restart", PRODUCER.name)]
    assert supervising.statuses[PRODUCER.name] == {
        "state": "unreachable",
        "cause": "status: timed out",
    }


async def test_a_stop_names_the_actors_that_did_not_finish(cluster):
    """They end all the same; other kinds continue."""
    supervising = supervisor(PRODUCER, ARCHIVER)
    await supervising.reconcile()
    cluster.actors[PRODUCER.name].status = None

    assert await supervising.stop("producer", drain_s=1.0) == [PRODUCER.name]
    assert set(cluster.actors) == {ARCHIVER.name}


async def test_consumers_that_an_interrupted_round_did_not_start_can_be_started(cluster):
    """What a producer has published must find its consumer, also if `up` ends early."""
    supervising = supervisor(PRODUCER, CONSUMER, ARCHIVER)

    await supervising.start_missing("consumer")
    await supervising.start_missing("consumer")

    assert cluster.events == [("start", CONSUMER.name)]
    assert await supervising.stop("consumer", drain_s=1.0) == []


MOVED = "producer-bithumb-moved-g2"
STREAMING = {"state": "streaming", "valid": True}
WAITING = {"state": "waiting", "valid": False}


async def test_an_actor_that_moved_to_another_node_is_not_started_again(cluster):
    """Its status is that of the actor, whatever its name is."""
    cluster.add(MOVED, STREAMING)
    supervising = supervisor(PRODUCER)

    await supervising.reconcile()

    assert cluster.events == []
    assert supervising.statuses == {PRODUCER.name: STREAMING}


async def test_during_a_move_the_instance_that_works_counts(cluster):
    """The other one waits for the lease; the move ends it."""
    cluster.add(PRODUCER.name, STREAMING)
    cluster.add(MOVED, WAITING)
    supervising = supervisor(PRODUCER)

    await supervising.reconcile()

    assert cluster.events == []
    assert supervising.statuses == {PRODUCER.name: STREAMING}


async def test_a_move_that_never_ends_is_ended(cluster, monkeypatch):
    """The process that drained the node died in between: the instance without work ends."""
    monkeypatch.setattr(reconcile, "MOVING_S", 0.0)
    cluster.add(PRODUCER.name, WAITING)
    cluster.add(MOVED, STREAMING)

    await supervisor(PRODUCER).reconcile()

    assert cluster.events == [("end", PRODUCER.name)]
