"""A value that many requests share."""

import asyncio

import pytest

from ray_pipeline.api.ttl_cache import TtlCache
from ray_pipeline.errors import DatabaseUnavailable


class Source:
    """Counts its calls, and fails while `down`."""

    def __init__(self) -> None:
        self.calls = 0
        self.down = False

    async def make(self) -> int:
        self.calls += 1
        await asyncio.sleep(0)
        if self.down:
            raise DatabaseUnavailable("down")
        return self.calls


async def test_requests_at_one_moment_share_one_call():
    """However many clients there are, the store is read once."""
    source = Source()
    cache = TtlCache(source.make, ttl_s=60.0)

    assert await asyncio.gather(*(cache.get() for _ in range(20))) == [1] * 20
    assert source.calls == 1


async def test_a_value_expires():
    """A cache without a lifetime reads at every request."""
    source = Source()
    cache = TtlCache(source.make, ttl_s=0.0)

    assert [await cache.get(), await cache.get()] == [1, 2]


async def test_an_error_is_cached_like_a_value():
    """Clients do not queue for a store that is down; after the lifetime it is read again."""
    source = Source()
    source.down = True
    cache = TtlCache(source.make, ttl_s=0.05)

    for _ in range(3):
        with pytest.raises(DatabaseUnavailable):
            await cache.get()
    assert source.calls == 1

    source.down = False
    await asyncio.sleep(0.06)
    assert await cache.get() == 2
