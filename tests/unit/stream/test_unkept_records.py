"""Records that neither memory nor disk can hold become a gap."""

import pytest

from ray_pipeline.feeds.records import Gap
from ray_pipeline.stream import record_queue
from tests.outbox_bench import START, Bench, numbers
from tests.support import eventually


async def test_a_full_disk_becomes_a_gap_when_there_is_room(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(record_queue, "MEMORY_RECORDS", 10)
    bench = Bench()
    bench.broker.away = True
    bench.spool.limit = 5
    async with bench.running() as publisher:
        bench.put(publisher, 5)
        await eventually(lambda: publisher.status().cause)
        bench.clock.seconds += 2
        await eventually(lambda: publisher.status().spooled == 5)
        bench.put(publisher, 10)
        bench.clock.seconds += 2
        await eventually(lambda: publisher.status().cause == "the disk is full")
        lost_from = bench.clock.now()
        bench.put(publisher)
        bench.clock.seconds += 1
        lost_to = bench.clock.now()
        bench.put(publisher)
        assert publisher.next_seq() == 16
        assert publisher.status().safe_at == START
        bench.broker.away = False
        bench.clock.pace_s = 0.01
        await eventually(lambda: publisher.next_seq() == 17)
        bench.put(publisher)
        assert await publisher.drain(5)
        assert publisher.status().cause == ""
    gap = bench.broker.records()[15]
    assert isinstance(gap, Gap)
    assert (gap.seq, gap.gap_kind, gap.pod_index) == (16, "spool_full", bench.shard)
    assert (gap.from_at, gap.to_at) == (lost_from, lost_to)
    assert gap.cause == "2 records were not kept: the disk is full"
    assert bench.broker.firsts() == numbers(1, 17)
