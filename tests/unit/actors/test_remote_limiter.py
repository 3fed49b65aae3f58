"""The client of the limiter actor: answers, errors of the actor, and an actor that is silent."""

import asyncio

import pytest
import ray

from ray_pipeline.actors import remote_limiter
from ray_pipeline.actors.remote_limiter import CALL_TIMEOUT_S, RemoteLimiter
from ray_pipeline.batch.permits import NotBefore, Permit
from ray_pipeline.errors import DatabaseUnavailable
from tests.virtual_time import now_s, virtual_time


class FakeMethod:
    """A method of an actor handle; returns a future as its reference."""

    def __init__(self) -> None:
        self.calls: list[tuple] = []
        self.reference: asyncio.Future = asyncio.get_running_loop().create_future()

    def remote(self, *arguments, **options) -> asyncio.Future:
        self.calls.append((arguments, options))
        return self.reference


class FakeHandle:
    """The handle of a limiter actor."""

    def __init__(self) -> None:
        self.acquire, self.cooldown, self.finished = FakeMethod(), FakeMethod(), FakeMethod()


@virtual_time
@pytest.mark.parametrize("answer", [Permit("key", calls=2), NotBefore(None, "no key")])
async def test_the_answer_of_the_actor_is_returned(answer):
    actor = FakeHandle()
    actor.acquire.reference.set_result(answer)

    assert await RemoteLimiter(actor).acquire("finnhub", job="news", sweep=True, calls=2) == answer

    assert actor.acquire.calls == [
        (("finnhub",), {"job": "news", "sweep": True, "calls": 2, "key": None})
    ]


@virtual_time
async def test_a_cooldown_reaches_the_actor():
    actor = FakeHandle()
    actor.cooldown.reference.set_result(None)

    await RemoteLimiter(actor).cooldown("finnhub", "key", pause=None, reason="refused")

    assert actor.cooldown.calls == [(("finnhub", "key"), {"pause": None, "reason": "refused"})]


@virtual_time
async def test_answered_calls_reach_the_actor():
    actor = FakeHandle()
    actor.finished.reference.set_result(None)

    await RemoteLimiter(actor).finished([3, 4])

    assert actor.finished.calls == [(([3, 4],), {})]


@virtual_time
async def test_an_error_of_the_actor_keeps_its_class():
    """The caller retries DatabaseUnavailable, and nothing else."""
    actor = FakeHandle()
    cause = DatabaseUnavailable("it does not answer")
    actor.acquire.reference.set_exception(ray.exceptions.RayTaskError("acquire", "", cause))

    with pytest.raises(DatabaseUnavailable) as raised:
        await RemoteLimiter(actor).acquire("finnhub", job="news", sweep=False)

    assert raised.value.cause is cause


@virtual_time
async def test_a_dead_actor_means_that_the_ledger_is_away():
    """Ray restarts it, so the same request succeeds later."""
    actor = FakeHandle()
    actor.acquire.reference.set_exception(ray.exceptions.RayActorError())

    with pytest.raises(DatabaseUnavailable, match="RayActorError"):
        await RemoteLimiter(actor).acquire("finnhub", job="news", sweep=False)


@virtual_time
async def test_a_late_answer_is_not_waited_for_and_its_call_is_not_cancelled():
    """A cancellation could reach the actor between the count and the answer."""
    actor = FakeHandle()

    with pytest.raises(DatabaseUnavailable, match="TimeoutError"):
        await RemoteLimiter(actor).acquire("finnhub", job="news", sweep=False)

    assert now_s() == CALL_TIMEOUT_S
    assert not actor.acquire.reference.cancelled()


class FakeCluster:
    """Actors by name; keeps how it was joined."""

    def __init__(self) -> None:
        self.actors: dict[str, object] = {}
        self.namespaces: list[str] = []

    def init(self, *, namespace, **_options):
        self.namespaces.append(namespace)

    def get_actor(self, name):
        if name not in self.actors:
            raise ValueError(f"no actor {name}")
        return self.actors[name]


@pytest.fixture
def cluster(monkeypatch):
    created = FakeCluster()
    monkeypatch.setattr(ray, "init", created.init)
    monkeypatch.setattr(ray, "get_actor", created.get_actor)
    monkeypatch.setenv("PIPELINE_RAY__NAMESPACE", "test")
    monkeypatch.setenv("PIPELINE_RAY__GENERATION", "3")
    return created


def test_a_run_uses_the_limiter_of_its_own_generation(cluster):
    """Another generation may know other keys."""
    cluster.actors = {"limiter-g2": object(), "limiter-g3": object()}

    client = remote_limiter.connect()

    assert client._actor is cluster.actors["limiter-g3"]
    assert cluster.namespaces == ["test"]


def test_without_a_limiter_there_is_no_client(cluster):
    """The run uses the ledger itself."""
    cluster.actors = {"limiter-g2": object()}

    assert remote_limiter.connect() is None
