"""The outbox: everything that is put is delivered, in order, whatever the broker does."""

import asyncio
from collections.abc import Sequence
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ray_pipeline.stream import outbox as module
from ray_pipeline.stream import record_queue
from tests.outbox_bench import Bench, FakeBroker, FakeClock, numbers
from tests.support import eventually


async def test_records_arrive_in_order_in_the_shards_partition() -> None:
    bench = Bench()
    async with bench.running() as publisher:
        bench.put(publisher, 10)
        assert await publisher.drain(5)
    assert bench.broker.firsts() == numbers(1, 10)
    assert {(partition, key) for partition, key, _ in bench.broker.log} == {(1, b"AAPL")}


async def test_what_waits_goes_in_one_round_of_at_most_5000() -> None:
    bench = Bench()
    async with bench.running() as publisher:
        bench.put(publisher, 12_000)
        assert await publisher.drain(5)
    assert bench.broker.rounds == [5_000, 5_000, 2_000]
    assert bench.spool.most == 0


async def test_one_round_is_in_flight_at_a_time() -> None:
    bench = Bench()
    async with bench.running() as publisher:
        bench.broker.flow.clear()
        bench.put(publisher)
        await eventually(lambda: publisher._sending is not None)
        bench.put(publisher, 5)
        assert bench.broker.log == []
        bench.broker.flow.set()
        assert await publisher.drain(5)
    assert bench.broker.rounds == [1, 5]


async def test_status_follows_the_acknowledgements() -> None:
    bench = Bench()
    async with bench.running() as publisher:
        assert publisher.status().safe_at is None
        bench.broker.flow.clear()
        received_at = bench.clock.now()
        bench.put(publisher, 3)
        bench.clock.seconds += 0.5
        status = publisher.status()
        assert (status.published, status.pending, status.spooled) == (0, 3, 0)
        assert status.safe_at == received_at
        bench.broker.flow.set()
        assert await publisher.drain(5)
        status = publisher.status()
        assert (status.published, status.pending, status.cause) == (3, 0, "")
        assert status.safe_at == bench.clock.now()


async def test_a_failed_round_is_sent_again_with_its_numbers() -> None:
    bench = Bench(clock=FakeClock(pace_s=0.01))
    bench.broker.away = True
    async with bench.running() as publisher:
        bench.put(publisher, 3)
        await eventually(lambda: publisher.status().cause == "the broker is away")
        bench.broker.away = False
        assert await publisher.drain(5)
    assert bench.broker.firsts() == numbers(1, 3)


async def test_nothing_is_sent_without_a_valid_lease() -> None:
    bench = Bench(valid=False)
    async with bench.running() as publisher:
        bench.put(publisher, 3)
        await eventually(lambda: "lease" in publisher.status().cause)
        bench.clock.seconds += 1.1
        await eventually(lambda: publisher.status().spooled == 3)
        assert bench.broker.log == []
        bench.valid = True
        bench.clock.seconds += 1.1
        assert await publisher.drain(5)
    assert bench.broker.firsts() == numbers(1, 3)


async def test_a_stop_leaves_the_rest_on_disk() -> None:
    bench = Bench()
    bench.broker.flow.clear()
    async with bench.running() as publisher:
        bench.put(publisher, 3)
        await eventually(lambda: publisher._sending is not None)
        bench.put(publisher, 2)
    assert [entry.seq for entry in bench.spool.entries] == [1, 2, 3, 4, 5]


async def test_being_cancelled_leaves_the_rest_on_disk() -> None:
    bench = Bench()
    bench.broker.flow.clear()
    publisher = bench.publisher()
    task = asyncio.create_task(publisher.run(asyncio.Event()))
    bench.put(publisher, 3)
    await eventually(lambda: publisher._sending is not None)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert [entry.seq for entry in bench.spool.entries] == [1, 2, 3]


async def test_a_drain_that_takes_too_long_leaves_the_rest_on_disk() -> None:
    bench = Bench()
    bench.broker.away = True
    async with bench.running() as publisher:
        bench.put(publisher, 3)
        assert not await publisher.drain(0.05)
        assert len(bench.spool) == 3


async def _live(bench: Bench, epoch: int, *, puts: Sequence[int], crash: bool) -> int:
    """Publish in one epoch with puts at odd moments; return how many were put."""
    publisher, stop = bench.publisher(epoch=epoch), asyncio.Event()
    task = asyncio.create_task(publisher.run(stop))
    await asyncio.sleep(0)  # a task that is cancelled before it began does nothing at all
    for count in puts:
        bench.put(publisher, count)
        for _ in range(count % 4):
            await asyncio.sleep(0)
    if not crash:
        assert await publisher.drain(10)
        stop.set()
        await task
    else:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    return sum(puts)


@settings(max_examples=60)
@given(
    lives=st.lists(
        st.tuples(st.lists(st.integers(1, 12), max_size=8), st.booleans()), min_size=1, max_size=4
    ),
    seed=st.integers(0, 2**16),
    pace_s=st.sampled_from([0.02, 0.3, 1.5]),
)
def test_whatever_fails_everything_arrives_in_order(
    lives: list[tuple[list[int], bool]], seed: int, pace_s: float
) -> None:
    async def scenario() -> None:
        bench = Bench(broker=FakeBroker(chance=Random(seed)), clock=FakeClock(pace_s=pace_s))
        expected: list[tuple[int, int]] = []
        for epoch, (puts, crash) in enumerate(lives, start=1):
            expected += numbers(epoch, await _live(bench, epoch, puts=puts, crash=crash))
        await _live(bench, len(lives) + 1, puts=[], crash=False)
        assert bench.broker.firsts() == expected
        assert bench.spool.entries == []

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(record_queue, "ROUND_RECORDS", 5)
        patch.setattr(record_queue, "MEMORY_RECORDS", 15)
        patch.setattr(record_queue, "SPOOL_RECORDS", 7)
        patch.setattr(module, "POLL_S", 0.001)
        asyncio.run(scenario())
