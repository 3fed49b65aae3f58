"""Records that the broker cannot take become rejects."""

from ray_pipeline.feeds.records import Reject
from tests.outbox_bench import Bench, numbers


async def test_a_record_that_is_too_large_is_replaced_by_a_reject() -> None:
    bench = Bench()
    bench.broker.limit_bytes = 300_000
    async with bench.running() as publisher:
        bench.put(publisher)
        bench.put(publisher, symbol="X" * 400_000)
        bench.put(publisher)
        assert await publisher.drain(5)
        assert publisher.status().published == 3
    assert bench.broker.firsts() == numbers(1, 3)
    reject = next(one for one in bench.broker.records() if isinstance(one, Reject))
    assert (reject.seq, reject.reason, reject.pod_index) == (2, "too_large", bench.shard)
    assert reject.size_bytes > 400_000
    assert 50_000 < len(reject.payload) <= 64 * 1024
    assert reject.payload.startswith('{"v":1,"symbol":"XXX')


async def test_a_reject_that_is_too_large_itself_shrinks() -> None:
    bench = Bench()
    bench.broker.limit_bytes = 5_000
    async with bench.running() as publisher:
        bench.put(publisher, symbol="\\" * 200_000)
        assert await publisher.drain(5)
    assert bench.broker.firsts() == numbers(1, 1)
