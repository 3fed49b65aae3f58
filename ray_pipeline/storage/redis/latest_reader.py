"""Latest values for many readers: reads of the same moment share one command to Redis."""

import asyncio
import time
from collections.abc import Sequence
from typing import Any, cast

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from ray_pipeline.errors import CacheUnavailable
from ray_pipeline.feeds.feed import Feed
from ray_pipeline.storage.redis.latest_cache import readable_url, versions_key

TIMEOUT_S = 1.0
COOLDOWN_S = 0.5  # after a failure, Redis is not queried for this time
CONNECTIONS = 8
CHUNK = 1_000


class LatestReader:
    """
    Reads `latest:*`.

    Single reads of one turn of the event loop become one MGET: thousands of requests a second cost
    Redis, and this process, hundreds of commands.
    """

    def __init__(self, url: str) -> None:
        with readable_url():
            pool: Any = BlockingConnectionPool.from_url(
                url,
                max_connections=CONNECTIONS,
                timeout=TIMEOUT_S,
                decode_responses=True,
                socket_timeout=TIMEOUT_S,
                socket_connect_timeout=TIMEOUT_S,
                retry=Retry(NoBackoff(), 0),
            )
        self._client = Redis(connection_pool=pool)
        self._pool = pool
        self._pending: dict[str, asyncio.Future[str | None]] = {}
        self._flushes: set[asyncio.Task[None]] = set()
        self._away_until_s = 0.0

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()
        await self._pool.disconnect()

    async def value_of(self, spec: Feed, symbol: str) -> str | None:
        """
        Return a symbol's latest value, JSON; None if Redis lacks it.

        Raises:
            CacheUnavailable: If Redis is away.
        """
        key = latest_key(spec, symbol)
        future = self._pending.get(key)
        if future is None:
            loop = asyncio.get_running_loop()
            if not self._pending:
                loop.call_soon(self._flush)
            future = self._pending[key] = loop.create_future()
        return await asyncio.shield(future)

    async def many(self, spec: Feed, symbols: Sequence[str]) -> list[str | None]:
        """
        Return symbols' latest values, in their order.

        Raises:
            CacheUnavailable: If Redis is away.
        """
        values: list[str | None] = []
        for start in range(0, len(symbols), CHUNK):
            chunk = symbols[start : start + CHUNK]
            values += await self._mget([latest_key(spec, symbol) for symbol in chunk])
        return values

    async def symbols(self, spec: Feed) -> list[str]:
        """
        Return the symbols that Redis knows, in order.

        Raises:
            CacheUnavailable: If Redis is away.
        """
        self._check()
        try:
            names = await self._client.hkeys(versions_key(spec.name))
        except (RedisError, OSError) as error:
            raise self._away(error) from error
        return sorted(map(str, names))

    def _flush(self) -> None:
        pending, self._pending = self._pending, {}
        task = asyncio.get_running_loop().create_task(self._answer(pending))
        self._flushes.add(task)
        task.add_done_callback(self._flushes.discard)

    async def _answer(self, pending: dict[str, asyncio.Future[str | None]]) -> None:
        try:
            values = await self._mget(list(pending))
        except CacheUnavailable as error:
            for future in pending.values():
                future.set_exception(error)
                future.exception()  # the reader may be gone; asyncio would log it
        else:
            for future, value in zip(pending.values(), values, strict=True):
                future.set_result(value)

    async def _mget(self, keys: list[str]) -> list[str | None]:
        self._check()
        try:
            # The client decodes, but its types do not know that.
            return cast(list[str | None], await self._client.mget(keys))
        except (RedisError, OSError) as error:
            raise self._away(error) from error

    def _check(self) -> None:
        if time.monotonic() < self._away_until_s:
            raise CacheUnavailable("Redis is away; it failed a moment ago", fix=FIX)

    def _away(self, error: Exception) -> CacheUnavailable:
        self._away_until_s = time.monotonic() + COOLDOWN_S
        return CacheUnavailable(f"Redis is away: {type(error).__name__}", fix=FIX)


FIX = "check that the server runs; see `ray-pipeline doctor`"


def latest_key(spec: Feed, symbol: str) -> str:
    """Return the key of a symbol's latest value."""
    return f"latest:{spec.redis.prefix}:{symbol}"
