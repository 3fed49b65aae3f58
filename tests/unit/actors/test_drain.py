"""Draining a node: which of its actors stop, in which order, and what is reported."""

import asyncio

import pytest

from ray_pipeline import settings
from ray_pipeline.actors import drain, ray_runtime
from ray_pipeline.actors.drain import drain_node
from ray_pipeline.errors import Unavailable

PRODUCERS = ["producer-sp500-01-g2", "producer-sp500-02-g2"]
OTHERS = ["archiver-g2", "consumer-sp500-0-g2"]


class FakeHandle:
    """An actor; its stop lets other tasks run before it ends."""

    def __init__(self, events: list[tuple]) -> None:
        self._events = events
        self.finishes = True
        self.failure: Exception | None = None

    async def stop(self, name: str, *, drain_s: float) -> bool:
        if self.failure is not None:
            raise self.failure
        self._events.append(("stop", name, drain_s))
        await asyncio.sleep(0)
        self._events.append(("stopped", name))
        return self.finishes


class FakeCluster:
    """A Ray cluster with the actors of one node; None is an actor that has just ended."""

    def __init__(self) -> None:
        self.actors: dict[str, FakeHandle | None] = {}
        self.foreign_names: list[str | None] = [None, "", "a user's actor"]
        self.events: list[tuple] = []
        self.filters: list[tuple] = []
        self.failure: Exception | None = None

    def add(self, *names: str) -> None:
        """Add living actors."""
        self.actors |= {name: FakeHandle(self.events) for name in names}

    def init(self, **options: object) -> None:
        if self.failure is not None:
            raise self.failure
        self.events.append(("join", options["namespace"]))

    def shutdown(self) -> None:
        self.events.append(("leave",))

    def list_actors(self, *, filters, limit):
        self.filters = filters
        return [{"name": name} for name in (*reversed(self.actors), *self.foreign_names)]

    def find(self, name: str, namespace: str) -> FakeHandle | None:
        return self.actors[name]

    def get_node_id(self) -> str:
        return "this-node"


@pytest.fixture
def cluster(monkeypatch):
    created = FakeCluster()
    for name in ("init", "shutdown"):
        monkeypatch.setattr(drain.ray, name, getattr(created, name))
    monkeypatch.setattr(drain.ray, "get_runtime_context", lambda: created)
    monkeypatch.setattr(drain, "list_actors", created.list_actors)
    monkeypatch.setattr(ray_runtime, "find", created.find)
    return created


def configured() -> settings.Settings:
    return settings.load(ray={"namespace": "test"})


async def test_producers_stop_before_the_other_actors_and_each_group_at_once(cluster):
    """The consumers store what the producers still publish. Each actor may use the whole time."""
    cluster.add(*PRODUCERS, *OTHERS)

    finished = await drain_node(configured(), drain_s=20.0)

    assert finished == dict.fromkeys([*PRODUCERS, *OTHERS], True)
    expected = [("join", "test")]
    for group in (PRODUCERS, OTHERS):
        expected += [("stop", name, 20.0) for name in group]
        expected += [("stopped", name) for name in group]
    assert cluster.events == [*expected, ("leave",)]


async def test_an_actor_that_did_not_finish_is_named(cluster):
    cluster.add(*PRODUCERS)
    cluster.actors[PRODUCERS[1]].finishes = False

    finished = await drain_node(configured(), drain_s=20.0)

    assert finished == {PRODUCERS[0]: True, PRODUCERS[1]: False}


async def test_an_actor_that_has_just_ended_is_finished(cluster):
    cluster.actors = {OTHERS[0]: None}

    assert await drain_node(configured(), drain_s=20.0) == {OTHERS[0]: True}


@pytest.mark.parametrize(("node", "drained"), [("", "this-node"), ("another", "another")])
async def test_only_the_actors_of_one_node_stop(cluster, node, drained):
    """By default of the node that this process runs on."""
    assert await drain_node(configured(), drain_s=20.0, node=node) == {}

    assert cluster.filters == [("node_id", "=", drained), ("state", "=", "ALIVE")]


async def test_a_cluster_that_does_not_answer_is_reported_with_the_consequence(cluster):
    """The successors of the actors must wait for the leases."""
    cluster.failure = ConnectionError("no head")

    with pytest.raises(Unavailable, match="ConnectionError") as raised:
        await drain_node(configured(), drain_s=20.0)

    assert "PIPELINE_STREAMS__LEASE_TTL_S" in raised.value.fix


async def test_it_leaves_the_cluster_after_a_failure(cluster):
    """A connection that stays open would keep the process alive."""
    cluster.add(OTHERS[0])
    cluster.actors[OTHERS[0]].failure = RuntimeError("a bug")

    with pytest.raises(RuntimeError):
        await drain_node(configured(), drain_s=20.0)

    assert cluster.events[-1] == ("leave",)


async def test_an_actor_that_fails_leaves_no_other_actor_running(cluster):
    """The others still hold leases that their successors wait for."""
    cluster.add(*PRODUCERS, *OTHERS)
    cluster.actors[PRODUCERS[0]].failure = RuntimeError("a bug")

    with pytest.raises(RuntimeError):
        await drain_node(configured(), drain_s=20.0)

    stopped = {event[1] for event in cluster.events if event[0] == "stopped"}
    assert stopped == {PRODUCERS[1], *OTHERS}
    assert cluster.events[-1] == ("leave",)


async def test_it_leaves_the_cluster_after_a_failed_listing(cluster, monkeypatch):
    """The node's agent may have ended before."""

    def fail(**_: object) -> None:
        raise ConnectionError("no agent")

    monkeypatch.setattr(drain, "list_actors", fail)
    with pytest.raises(Unavailable, match="ConnectionError"):
        await drain_node(configured(), drain_s=20.0)

    assert cluster.events == [("join", "test"), ("leave",)]
