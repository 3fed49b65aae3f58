"""
Redis: the latest values, forward in time only, within a budget of memory.

One script writes a chunk of values. It compares event times with the companion hash
`pipeline:latest_ms:<feed>`, so that an old record, an outdated consumer or a rebuild never moves a
value back. Before it writes, it compares the marker of this writer with the one that it wrote last.
"""

import json
import logging
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import msgspec
import redis.asyncio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.commands.core import AsyncScript
from redis.exceptions import OutOfMemoryError, RedisError

from ray_pipeline.errors import CacheUnavailable, ConfigurationError
from ray_pipeline.feeds.feed import Feed
from ray_pipeline.storage.redis.orphans import delete_orphans
from ray_pipeline.storage.redis.second_codec import Packer
from ray_pipeline.storage.redis.write_scripts import BEGIN, PUBLISH, WRITE
from ray_pipeline.stream.cache import CacheUsage, LatestValue
from ray_pipeline.stream.cache_memory import MEGABYTE

log = logging.getLogger(__name__)

CHUNK = 500
PER_VALUE_BYTES = 300  # upper bound of the memory that a value needs beyond its texts
RECOUNT_EVERY_S = 30.0
TIMEOUT_S = 5.0


@dataclass(frozen=True, slots=True)
class CacheLimits:
    """
    The limits of what is written.

    Attributes:
        ttl_s: Time to live of every value.
        publishes_per_s: Most notifications of a channel.
        budget_bytes: Memory of the values of single seconds, of all feeds together.
        realtime_keys: How many values of a symbol have a key of their own.
    """

    ttl_s: int
    publishes_per_s: float
    budget_bytes: int
    realtime_keys: int


def client(url: str) -> redis.asyncio.Redis:
    """
    Return a client that fails fast; the caller retries.

    Raises:
        ConfigurationError: If `url` cannot be read.
    """
    with readable_url():
        return redis.asyncio.Redis.from_url(
            url,
            decode_responses=True,
            socket_timeout=TIMEOUT_S,
            socket_connect_timeout=TIMEOUT_S,
            health_check_interval=15,
            retry=Retry(NoBackoff(), 0),
        )


@contextmanager
def readable_url() -> Iterator[None]:
    """
    Read the URL of Redis in a block.

    Raises:
        ConfigurationError: Instead of the library's error, which quotes a part of the password
            if a slash in it is not escaped.
    """
    try:
        yield
    except ValueError:
        raise ConfigurationError(
            "PIPELINE_REDIS__URL is not a URL of Redis",
            fix="write redis://:password@host:6379/0; in the password, %2F stands for /",
        ) from None


def versions_key(feed: str) -> str:
    """Return the hash that holds each symbol's event time, ms."""
    return f"pipeline:latest_ms:{feed}"


class LatestCache:
    """One feed's latest values in Redis; see `write_scripts` for the keys."""

    def __init__(
        self,
        url: str,
        spec: Feed,
        *,
        limits: CacheLimits,
        writer: str,
        partitions: Sequence[int] = (),
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._client = client(url)
        self._spec = spec
        self._limits = limits
        self._partitions = ",".join(map(str, partitions))
        self._clock = clock
        self._write = self._client.register_script(WRITE)
        self._begin = self._client.register_script(BEGIN)
        self._publish = self._client.register_script(PUBLISH)
        self._fixed = {
            "feed": spec.name,
            "prefix": spec.redis.prefix,
            "hash": spec.redis.hash or "",
            "ttl": limits.ttl_s,
            "budget": limits.budget_bytes,
            "keys": limits.realtime_keys,
            "writer": writer,
            "partitions": self._partitions,
        }
        # The marker of the last write. Its number is random at first, so that the marker of an
        # earlier process of this name never equals it.
        self._number = secrets.randbits(40)
        self._marker = ""
        self._has_written = False
        self._recounted_at_s = 0.0
        self._packer = Packer()

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def begin_rebuild(self) -> float:
        """
        Become the writer, whatever Redis holds; see `stream.consumer_ports.LatestStore`.

        Raises:
            CacheUnavailable: If Redis is away, full or read-only.
        """
        try:
            # First, because they may fill the server so that it refuses any other write.
            if deleted := await delete_orphans(self._client, self._spec):
                log.info(
                    "redis: deleted %d values of %s that nothing lists", deleted, self._spec.name
                )
        except (RedisError, OSError) as error:
            raise _unavailable(error) from error
        self._number += 1
        fields = {**self._fixed, "now": int(self._clock()), "stamp": str(self._number)}
        text = str(await self._run(self._begin, [_json(fields)]))
        self._marker = f"{self._number}|{text}|{self._partitions}"
        self._has_written = False
        return float(text)

    async def write(
        self, values: Sequence[LatestValue], *, complete_until_s: float
    ) -> CacheUsage | None:
        """
        Write values, sorted by symbol and time; see `stream.consumer_ports.LatestStore`.

        Repeating it is harmless.

        Raises:
            CacheUnavailable: If Redis is away, full or read-only. A part may have been written.
        """
        usage = None
        for start in range(0, max(len(values), 1), CHUNK):
            chunk = values[start : start + CHUNK]
            usage = await self._write_chunk(chunk, complete_until_s)
            if usage is None:
                return None
        return usage

    async def publish(self, text: str) -> bool:
        """
        Notify the feed's clients; return False if they were notified a moment ago.

        Raises:
            CacheUnavailable: If Redis is away.
        """
        channel = self._spec.redis.channel
        if channel is None:
            return True
        pause_ms = max(1, int(1000 / self._limits.publishes_per_s))
        keys = [f"pipeline:published:{channel}"]
        return bool(await self._run(self._publish, [channel, text, pause_ms], keys=keys))

    async def _write_chunk(
        self, values: Sequence[LatestValue], complete_until_s: float
    ) -> CacheUsage | None:
        now_s = self._clock()
        shapes, packed = self._packed(values)
        chunk = msgspec.msgpack.encode(packed)
        recount = now_s - self._recounted_at_s >= RECOUNT_EVERY_S
        marker = self._marker
        if values or recount:
            self._number += 1
            marker = f"{self._number}|{complete_until_s:.3f}|{self._partitions}"
        fields = {
            **self._fixed,
            "now": int(now_s),
            "expected": self._marker,
            "marker": marker,
            "has_written": self._has_written,
            "recount": recount,
            "incoming": len(chunk) + PER_VALUE_BYTES * len(values),
        }
        reply = await self._run(self._write, [_json(fields), _json(shapes), chunk])
        if not reply[0]:
            return None
        self._marker = marker
        self._has_written = self._has_written or bool(values)
        if recount:
            self._recounted_at_s = now_s
        return self._usage(reply, now_s)

    def _packed(self, values: Sequence[LatestValue]) -> tuple[dict[str, str], list[str | int]]:
        """Return the ids of shapes, and the values as the script reads them."""
        shapes: dict[str, str] = {}
        packed: list[str | int] = []
        for value in values:
            shape, text = self._packer.pack(value.value, value.symbol, value.event_ms)
            if shape is not None and shape not in shapes:
                shapes[shape] = text.partition(",")[0]
            packed += (value.symbol, value.event_ms, value.value, text)
        return shapes, packed

    def _usage(self, reply: Sequence[Any], now_s: float) -> CacheUsage:
        feed_bytes, total_bytes, first_minute = map(int, reply[1:4])
        reason, used_bytes, limit_bytes = str(reply[4]), int(reply[5]), int(reply[6])
        retention_s = min(self._limits.ttl_s, max(now_s - first_minute * 60, 0.0))
        shortened = ""
        if retention_s < self._limits.ttl_s:
            budget_bytes = self._limits.budget_bytes
            shortened = (
                f"Redis used {_megabytes(used_bytes)} of its {_megabytes(limit_bytes)}, "
                f"{_megabytes(used_bytes - total_bytes)} of it for other data; raise maxmemory"
                if reason == "maxmemory"
                else f"all feeds share {_megabytes(budget_bytes)}; raise PIPELINE_REDIS__BUDGET_MB"
            )
        return CacheUsage(
            feed_bytes, total_bytes, self._limits.budget_bytes, retention_s, shortened
        )

    async def _run(
        self, script: AsyncScript, arguments: list[Any], *, keys: Sequence[str] = ()
    ) -> Any:
        try:
            return await script(keys=list(keys), args=arguments)
        except (RedisError, OSError) as error:
            raise _unavailable(error) from error


_json = json.dumps


def _megabytes(size_bytes: int) -> str:
    return f"{size_bytes / MEGABYTE:.0f} MB"


def _unavailable(error: Exception) -> CacheUnavailable:
    # Redis 6 reports it as an ordinary error of the script.
    if isinstance(error, OutOfMemoryError) or "OOM" in str(error):
        return CacheUnavailable(
            "Redis is full of data of other programs, and refuses latest values",
            fix="raise its maxmemory, or delete that data; `ray-pipeline doctor` shows the sizes",
        )
    return CacheUnavailable(f"Redis is away or refuses: {type(error).__name__}: {error}")
