"""The writer of the cache ends when it is told to, whatever it is doing at that moment."""

import asyncio
from collections.abc import Sequence

import pytest

from ray_pipeline.stream.cache import CacheUsage, LatestValue
from ray_pipeline.stream.cache_writer import CacheWriter
from ray_pipeline.stream.consumer_ports import ConsumerStatus, LatestStore
from tests.support import eventually

STEPS = 20  # more than it takes to come to rest


class FakeCache:
    """Takes everything at once."""

    async def begin_rebuild(self) -> float:
        return 0.0

    async def write(self, values: Sequence[LatestValue], *, complete_until_s: float) -> CacheUsage:
        return CacheUsage(0, 0, 0, 0.0)

    async def publish(self, text: str) -> bool:
        return True

    async def close(self) -> None:
        """Nothing is open."""


async def complete(cache: LatestStore, fresh_at_s: float) -> None:
    """Nothing has to be rebuilt."""


async def steps(count: int) -> None:
    """Let other tasks go on so many times."""
    for _ in range(count):
        await asyncio.sleep(0)


@pytest.mark.parametrize("later", range(5))
async def test_a_cancellation_that_meets_a_batch_is_not_forgotten(later):
    """A consumer that fails right after it offered a batch would wait for its writer for ever."""
    writer = CacheWriter(FakeCache(), complete, ConsumerStatus(), clock=lambda: 0.0)
    running = asyncio.create_task(writer.run())
    await steps(STEPS)

    writer.offer([])
    await steps(later)
    running.cancel()
    await steps(STEPS)

    ended = running.done()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert ended


class LossyCache(FakeCache):
    """Loses its data when `lost` is set; a rebuild makes it complete again."""

    def __init__(self) -> None:
        self.lost = False
        self.complete_until_s = 0.0
        self.values: list[LatestValue] = []

    async def begin_rebuild(self) -> float:
        self.lost = False
        return self.complete_until_s

    async def write(
        self, values: Sequence[LatestValue], *, complete_until_s: float
    ) -> CacheUsage | None:
        if self.lost:
            return None
        self.values += values
        self.complete_until_s = complete_until_s
        return CacheUsage(1, 2, 3, 4.0)


async def test_a_replaced_cache_is_rebuilt_from_where_its_copy_ends_before_values_are_written():
    """The copy lacks more than the writer missed; and values in it must not go back in time."""
    cache, rebuilds = LossyCache(), []

    async def rebuild(_: LatestStore, since_s: float) -> None:
        rebuilds.append((since_s, list(cache.values)))

    status = ConsumerStatus()
    writer = CacheWriter(cache, rebuild, status, clock=lambda: 100.0)
    running = asyncio.create_task(writer.run())
    await steps(STEPS)
    cache.lost, cache.complete_until_s = True, 40.0

    value = LatestValue("A", 1, "{}")
    writer.offer([value])
    await steps(STEPS)
    assert status.redis_state.startswith("waiting: Redis was emptied, or replaced")
    assert await writer.drained(5.0)

    assert rebuilds == [(0.0, []), (40.0, [])]
    assert cache.values == [value]
    assert (status.redis_state, status.redis_usage) == ("writing", CacheUsage(1, 2, 3, 4.0))
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_a_quiet_feed_looks_at_the_cache_too():
    """Nobody offers a value; the loss is noticed all the same."""
    cache, rebuilds = LossyCache(), []

    async def rebuild(_: LatestStore, since_s: float) -> None:
        rebuilds.append(since_s)

    writer = CacheWriter(cache, rebuild, ConsumerStatus(), clock=lambda: 100.0)
    running = asyncio.create_task(writer.run())
    await steps(STEPS)
    cache.lost = True

    await eventually(lambda: len(rebuilds) == 2, what="a second rebuild")
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
