"""The actor of a producer, as a plain class: what it does before its producer exists, and after."""

import asyncio
import os

import pytest

from ray_pipeline import settings
from ray_pipeline.actors import producer
from ray_pipeline.actors.producer import STOP_MARGIN_S, ProducerActor, exit_on_failure
from tests.virtual_time import now_s, until_s, virtual_time

BUILD_S = 5.0
STARTING = {"state": "starting", "pid": os.getpid()}


class FakeProducer:
    """Keeps the calls; a stop lasts `drain_takes_s`."""

    def __init__(self, *, drain_takes_s: float = 0.0) -> None:
        self.calls: list[object] = []
        self.drain_takes_s = drain_takes_s
        self.stopped = asyncio.Event()
        self.failure: Exception | None = None

    async def run(self) -> None:
        self.calls.append("run")
        if self.failure is not None:
            raise self.failure
        await self.stopped.wait()

    async def stop(self, *, drain_s: float) -> None:
        self.calls.append(("stop", drain_s))
        await asyncio.sleep(self.drain_takes_s)
        self.stopped.set()

    def status(self) -> dict[str, object]:
        return {
            "state": "collecting", "feed": "sp500", "shard": 3, "published": 10, "spooled": 0,
            "reconnects": 2,
        }  # fmt: skip

    def pause(self) -> None:
        self.calls.append("pause")

    def resume(self) -> None:
        self.calls.append("resume")

    def resubscribe(self, symbols):
        self.calls.append(("resubscribe", symbols))
        return ["AAPL"]

    def set_symbols(self, symbols) -> None:
        self.calls.append(("set_symbols", symbols))


class Process:
    """Keeps the code with which the process would have ended."""

    def __init__(self) -> None:
        self.exit_codes: list[int] = []


@pytest.fixture
def process(monkeypatch):
    created = Process()
    monkeypatch.setattr(os, "_exit", created.exit_codes.append)
    return created


@pytest.fixture
def start(monkeypatch, process):
    """Return a function that starts an actor; its producer is built after `BUILD_S` seconds."""

    def started(fake: FakeProducer) -> ProducerActor:
        async def build(_settings, feed, shard):
            assert (feed, shard) == ("sp500", 3)
            await asyncio.sleep(BUILD_S)
            return fake

        monkeypatch.setattr(producer, "build_producer", build)
        return ProducerActor(settings.load(), "sp500", 3)

    return started


@virtual_time
async def test_it_collects_from_its_construction_on(start):
    """After a restart by Ray, no other process calls it."""
    fake = FakeProducer()
    actor = start(fake)
    assert repr(actor) == "Producer(sp500/03)"
    assert await actor.status() == STARTING

    await until_s(BUILD_S + 1)

    assert fake.calls == ["run"]
    assert await actor.status() == {**fake.status(), "pid": os.getpid()}
    assert await actor.stop(1.0)


@virtual_time
async def test_before_the_producer_exists_the_commands_do_not_fail(start):
    """The build may last as long as an outage of Postgres."""
    fake = FakeProducer()
    actor = start(fake)

    await actor.pause()
    await actor.resume()
    await actor.set_symbols({"AAPL": None})
    assert await actor.resubscribe() == []
    assert list(actor._metrics()) == []
    await until_s(BUILD_S + 1)

    assert "run" in fake.calls
    assert await actor.stop(1.0)


@virtual_time
async def test_commands_before_the_producer_exists_are_kept(start):
    """A pause that was accepted must not be forgotten."""
    fake = FakeProducer()
    actor = start(fake)

    await actor.pause()
    await actor.set_symbols({"AAPL": None})
    await until_s(BUILD_S + 1)

    assert fake.calls == ["pause", ("set_symbols", {"AAPL": None}), "run"]
    assert await actor.stop(1.0)


@virtual_time
async def test_a_failure_of_the_metrics_ends_the_process_too(start, process, monkeypatch):
    """Each task of an actor is part of one group."""

    async def fail(*_: object, **__: object) -> None:
        await asyncio.sleep(10)
        raise RuntimeError("a bug")

    monkeypatch.setattr(producer, "report", fail)
    start(FakeProducer())
    await until_s(11)

    assert process.exit_codes == [1]


@virtual_time
async def test_a_stop_during_the_build_prevents_the_collecting(start):
    """It would take a lease that its successor waits for."""
    fake = FakeProducer()
    actor = start(fake)
    await until_s(1)

    assert not await actor.stop(20.0)
    assert now_s() == 1
    await until_s(BUILD_S + 1)

    assert fake.calls == []
    assert await actor.stop(20.0)


@virtual_time
async def test_the_commands_reach_the_producer(start):
    fake = FakeProducer()
    actor = start(fake)
    await until_s(BUILD_S + 1)

    await actor.pause()
    await actor.resume()
    await actor.set_symbols({"AAPL": None})
    assert await actor.resubscribe(["AAPL", "MSFT"]) == ["AAPL"]
    assert await actor.stop(20.0)

    assert fake.calls[1:] == [
        "pause", "resume", ("set_symbols", {"AAPL": None}), ("resubscribe", ["AAPL", "MSFT"]),
        ("stop", 20.0),
    ]  # fmt: skip


@virtual_time
async def test_a_stop_that_takes_too_long_says_so(start):
    """The caller ends the process then, so the answer must not wait for the drain."""
    actor = start(FakeProducer(drain_takes_s=1_000.0))
    await until_s(BUILD_S + 1)
    asked_at_s = now_s()

    assert not await actor.stop(20.0)
    assert now_s() - asked_at_s == 20.0 + STOP_MARGIN_S


@virtual_time
async def test_its_metrics_are_those_of_the_status(start):
    actor = start(FakeProducer())
    await until_s(BUILD_S + 1)

    samples = {sample.metric: sample.value for sample in actor._metrics()}

    assert samples["pipeline_records_published"] == 10
    assert samples["pipeline_reconnects"] == 2
    assert await actor.stop(1.0)


@virtual_time
async def test_a_failure_ends_the_process_so_that_ray_restarts_the_actor(start, process, caplog):
    """An actor that lives without its task would look healthy."""
    fake = FakeProducer()
    fake.failure = RuntimeError("a bug")
    start(fake)
    await until_s(BUILD_S + 1)

    assert process.exit_codes == [1]
    assert caplog.messages == ["the actor failed"]


@virtual_time
async def test_a_task_that_ends_or_is_cancelled_does_not_end_the_process(process, caplog):
    tasks = [asyncio.create_task(asyncio.sleep(seconds)) for seconds in (0, 100)]
    for task in tasks:
        task.add_done_callback(exit_on_failure)
    await until_s(1)
    tasks[1].cancel()
    await asyncio.gather(*tasks, return_exceptions=True)

    assert process.exit_codes == []
    assert caplog.messages == []
