"""The writer of the cache ends when it is told to, whatever it is doing at that moment."""

import asyncio
from collections.abc import Sequence

import pytest

from ray_pipeline.stream.cache import CacheUsage, LatestValue
from ray_pipeline.stream.cache_writer import CacheWriter
from ray_pipeline.stream.consumer_ports import ConsumerStatus, LatestStore

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
