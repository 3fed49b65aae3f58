"""Draining a node: which of its actors stop, in which order, and what is reported."""

import asyncio

import pytest

from ray_pipeline import settings
from ray_pipeline.actors import drain, ray_runtime
from ray_pipeline.actors.desired import Desired
from ray_pipeline.actors.drain import drain_node
from ray_pipeline.actors.ray_runtime import ActorUnreachable
from ray_pipeline.errors import Unavailable

PRODUCERS = ["producer-sp500-01-g2", "producer-sp500-02-g2"]
OTHERS = ["archiver-g2", "consumer-sp500-0-g2"]


class FakeHandle:
    """An actor; its stop lets other tasks run before it ends."""

    def __init__(self, name: str, events: list[tuple], *states: str) -> None:
        self.name = name
        self._events = events
        self._states = list(states)
        self.finishes = True
        self.failure: Exception | None = None

    async def call(self, method: str, *, timeout_s: float) -> object:
        """Return the states in turn, the last one repeatedly; no answer for an empty state."""
        state = self._states[0] if len(self._states) == 1 else self._states.pop(0)
        if not state:
            await asyncio.sleep(timeout_s)
            raise ActorUnreachable("status: timed out")
        return {"state": state, "valid": state == "streaming"}

    def kill(self, *, restart: bool) -> None:
        self._events.append(("restart" if restart else "end", self.name))

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
        self.successor_states = ("starting", "waiting")

    def add(self, *names: str, state: str = "waiting") -> None:
        """Add living actors."""
        self.actors |= {name: FakeHandle(name, self.events, state) for name in names}

    def close_to_new_actors(self, node: str) -> None:
        self.events.append(("close", node))

    def start(self, desired: Desired, _settings: settings.Settings) -> FakeHandle:
        self.events.append(("start", desired.name, desired.arguments))
        return FakeHandle(desired.name, self.events, *self.successor_states)

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
    monkeypatch.setattr(drain, "_close_to_new_actors", created.close_to_new_actors)
    monkeypatch.setattr(drain, "POLL_S", 0.0)
    monkeypatch.setattr(ray_runtime, "find", created.find)
    monkeypatch.setattr(ray_runtime, "start", created.start)
    return created


def configured() -> settings.Settings:
    return settings.load(ray={"namespace": "test", "generation": 2})


def did(cluster: FakeCluster, *verbs: str) -> list[tuple]:
    """Return the events of these kinds."""
    return [event for event in cluster.events if event[0] in verbs]


async def test_producers_stop_before_the_other_actors_and_each_group_at_once(cluster):
    """The consumers store what the producers still publish. Each actor may use the whole time."""
    cluster.add(*PRODUCERS, *OTHERS)

    finished = await drain_node(configured(), drain_s=20.0)

    assert finished == dict.fromkeys([*PRODUCERS, *OTHERS], True)
    expected = []
    for group in (PRODUCERS, OTHERS):
        expected += [("stop", name, 20.0) for name in group]
        expected += [("stopped", name) for name in group]
    assert did(cluster, "stop", "stopped") == expected
    assert cluster.events[:2] == [("join", "test"), ("close", "this-node")]
    assert cluster.events[-1] == ("leave",)


async def test_a_producer_stops_when_its_successor_waits_for_the_lease(cluster):
    """Until then it collects; afterwards its node must not start it again."""
    cluster.add("producer-bithumb-g2", state="streaming")

    await drain_node(configured(), drain_s=20.0)

    assert did(cluster, "start", "stop", "end", "restart") == [
        ("start", "producer-bithumb-moved-g2", ("bithumb", 0)),
        ("stop", "producer-bithumb-g2", 20.0),
        ("end", "producer-bithumb-g2"),
    ]


async def test_a_moved_producer_moves_back_to_its_first_name(cluster):
    """So an actor needs two names, however often it moves."""
    cluster.add("producer-bithumb-moved-g2", state="streaming")

    await drain_node(configured(), drain_s=20.0)

    assert did(cluster, "start") == [("start", "producer-bithumb-g2", ("bithumb", 0))]


async def test_a_producer_stops_at_the_deadline_even_if_no_node_has_room(cluster, monkeypatch):
    """The successor keeps its place, and starts when a node joins."""
    monkeypatch.setattr(drain, "MOVE_S", 0.01)
    cluster.successor_states = ("",)
    cluster.add("producer-bithumb-g2", state="streaming")

    assert await drain_node(configured(), drain_s=20.0) == {"producer-bithumb-g2": True}

    assert did(cluster, "end", "restart") == [("end", "producer-bithumb-g2")]


async def test_a_producer_stops_although_its_successor_cannot_be_created(cluster, monkeypatch):
    """It releases its lease, and Ray restarts it on another node."""

    def fail(*_: object) -> None:
        raise RuntimeError("Ray refuses it")

    monkeypatch.setattr(ray_runtime, "start", fail)
    cluster.add("producer-bithumb-g2", state="streaming")

    assert await drain_node(configured(), drain_s=20.0) == {"producer-bithumb-g2": True}

    assert did(cluster, "restart") == [("restart", "producer-bithumb-g2")]


async def test_actors_without_a_successor_restart_on_another_node(cluster):
    """Consumers lose no data; an idle producer, and one of another generation, has no work."""
    cluster.add("consumer-sp500-0-g2", state="storing")
    cluster.add("producer-bithumb-g2", state="no_key")
    cluster.add("producer-upbit-g1", state="streaming")

    await drain_node(configured(), drain_s=20.0)

    assert did(cluster, "start", "end") == []
    assert len(did(cluster, "restart")) == 3


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

    assert cluster.events == [("join", "test"), ("close", "this-node"), ("leave",)]
