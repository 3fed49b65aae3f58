"""Records that wait: on disk in an outage, in order, and the oldest epoch first."""

import pytest

from ray_pipeline.stream import record_queue
from tests.outbox_bench import START, Bench, FakeClock, entries, numbers
from tests.support import eventually


async def test_records_wait_on_disk_while_the_broker_is_away() -> None:
    bench = Bench()
    bench.broker.away = True
    async with bench.running() as publisher:
        bench.put(publisher, 3)
        await eventually(lambda: publisher.status().cause)
        assert publisher.status().spooled == 0
        bench.clock.seconds += 1.1
        await eventually(lambda: publisher.status().spooled == 3)
        bench.put(publisher, 2)
        bench.clock.seconds += 1.1
        await eventually(lambda: publisher.status().spooled == 5)
        assert publisher.status().pending == 0
        assert publisher.status().safe_at == START
        bench.broker.away = False
        bench.clock.seconds += 1.1
        assert await publisher.drain(5)
        bench.put(publisher)
        assert await publisher.drain(5)
        assert publisher.status().published == 6
    assert bench.broker.firsts() == numbers(1, 6)
    assert bench.spool.entries == []


async def test_a_round_that_hangs_is_kept_on_disk_until_it_is_acknowledged() -> None:
    bench = Bench()
    bench.broker.flow.clear()
    async with bench.running() as publisher:
        bench.put(publisher, 3)
        await eventually(lambda: publisher._sending is not None)
        bench.put(publisher, 2)
        bench.clock.seconds += 1.1
        await eventually(lambda: len(bench.spool) == 5)
        bench.broker.flow.set()
        assert await publisher.drain(5)
    assert [(one.epoch, one.seq) for one in bench.broker.records()] == numbers(1, 5)


async def test_too_much_for_memory_goes_to_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record_queue, "MEMORY_RECORDS", 100)
    monkeypatch.setattr(record_queue, "ROUND_RECORDS", 20)
    bench = Bench(clock=FakeClock(pace_s=0.001))
    async with bench.running() as publisher:
        bench.put(publisher, 500)
        assert await publisher.drain(5)
        assert bench.spool.most > 0
    assert bench.broker.firsts() == numbers(1, 500)


async def test_direct_sending_resumes_under_a_steady_load(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record_queue, "ROUND_RECORDS", 20)
    bench = Bench(clock=FakeClock(pace_s=0.01))
    bench.spool.append(entries(1, 100))
    async with bench.running(epoch=2) as publisher:

        def feed() -> bool:
            bench.put(publisher)
            return len(bench.spool) == 0 and publisher.status().published > 3

        await eventually(feed)
        assert await publisher.drain(5)
    assert bench.broker.firsts()[:100] == numbers(1, 100)


async def test_an_old_epochs_records_go_before_the_new_ones() -> None:
    bench = Bench()
    bench.spool.append(entries(1, 7))
    async with bench.running(epoch=2) as publisher:
        bench.put(publisher, 3)
        assert publisher.status().spooled == 7
        assert await publisher.drain(5)
        assert publisher.status().published == 3
    assert bench.broker.firsts() == [*numbers(1, 7), *numbers(2, 3)]


async def test_an_old_epochs_numbers_are_not_published_by_the_new_one() -> None:
    bench = Bench()
    bench.spool.append(entries(1, 7))
    async with bench.running(epoch=2) as publisher:
        assert await publisher.drain(5)
        assert publisher.status().published == 0
