"""Watch a run from outside: how much was sent, how much is stored, and when each shard moved."""

import asyncio
import contextlib
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

import aiohttp
import psycopg
import redis.asyncio as aioredis
from redis.exceptions import RedisError

from ray_pipeline.feeds.feed_registry import feed_named
from tests.chaos.stack import FEEDS, STREAMS, Stack, Stream

# A prefix may be the beginning of another one, so the number of colons decides, too.
PREFIXES = {feed: f"latest:{feed_named(feed).redis.prefix}:" for feed in FEEDS}
POLL_S = 0.25
ANSWER_S = 2.0
STORED = """
    SELECT feed, shard, sum(stored + parked)::bigint FROM stream_sequences GROUP BY feed, shard
"""


@dataclass(frozen=True, slots=True)
class StepBack:
    """A latest value that is older than the value that was read before; times of `time.time`."""

    from_s: float
    to_s: float
    text: str


@dataclass(slots=True)
class Watch:
    """
    Counts, polled a few times a second past every link.

    Attributes:
        sent: Records that the venues wrote.
        stored: Records that Postgres has, by stream.
        moved_s: When the count of each stream last grew, `time.time`.
        steps_back: When a latest value in Redis became older.
    """

    stack: Stack
    sent: int = 0
    stored: dict[Stream, int] = field(default_factory=dict)
    moved_s: dict[Stream, float] = field(default_factory=dict)
    steps_back: list[StepBack] = field(default_factory=list)
    _latest_ms: dict[str, int] = field(default_factory=dict)
    _connection: psycopg.AsyncConnection | None = None

    @property
    def total(self) -> int:
        """The stored records of all streams."""
        return sum(self.stored.values())

    async def run(self) -> None:
        """Poll until cancelled."""
        try:
            await asyncio.gather(self._poll_postgres(), self._poll_venue(), self._poll_redis())
        finally:
            await self._disconnect()

    async def flowing(self, streams: frozenset[Stream], *, since_s: float) -> None:
        """Wait until each of the streams has stored something after a moment."""
        while any(self.moved_s.get(stream, 0.0) <= since_s for stream in streams):
            await asyncio.sleep(POLL_S / 2)

    async def _poll_venue(self) -> None:
        while True:
            with contextlib.suppress(aiohttp.ClientError, TimeoutError):
                self.sent = await self.stack.venue.sent()
            await asyncio.sleep(4 * POLL_S)

    async def _poll_redis(self) -> None:
        """Check that the latest values only move forward in event time."""
        read_s = time.time()
        async with aioredis.Redis.from_url(self.stack.redis.url, socket_timeout=ANSWER_S) as client:
            while True:
                with contextlib.suppress(RedisError):
                    before_s, read_s = read_s, time.time()
                    self._compare(await _latest(client), from_s=before_s)
                await asyncio.sleep(4 * POLL_S)

    def _compare(self, latest_ms: Mapping[str, int], *, from_s: float) -> None:
        for symbol, at_ms in latest_ms.items():
            earlier_ms = self._latest_ms.get(symbol, 0)
            if at_ms < earlier_ms:
                text = f"Redis: the latest value of {symbol} went back by {earlier_ms - at_ms} ms"
                self.steps_back.append(StepBack(from_s, time.time(), text))
        self._latest_ms = dict(latest_ms)

    async def _poll_postgres(self) -> None:
        while True:
            try:
                async with asyncio.timeout(ANSWER_S):
                    await self._read()
            except (psycopg.Error, TimeoutError):
                await self._disconnect()
            await asyncio.sleep(POLL_S)

    async def _read(self) -> None:
        if self._connection is None:
            self._connection = await psycopg.AsyncConnection.connect(
                self.stack.postgres.dsn, autocommit=True
            )
        cursor = await self._connection.execute(STORED)
        for feed, shard, count in await cursor.fetchall():
            stream = (feed, shard)
            if stream in STREAMS and count > self.stored.get(stream, 0):
                self.stored[stream] = int(count)
                self.moved_s[stream] = time.time()

    async def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()


async def _latest(client: aioredis.Redis) -> dict[str, int]:
    """Return the event times of the latest values."""
    keys = [
        key
        for prefix in PREFIXES.values()
        async for key in client.scan_iter(match=f"{prefix}*", count=1_000)
        if key.count(b":") == prefix.count(":")
    ]
    values = await client.mget(keys) if keys else []
    return {
        key.decode(): json.loads(value)["timestamp"]
        for key, value in zip(keys, values, strict=True)
        if value
    }
