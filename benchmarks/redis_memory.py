"""Memory of a value in Redis: as a key of its own, and packed; and hours of values in a budget."""

import asyncio
import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import redis

from benchmarks.processes import say
from benchmarks.servers import temporary_home
from ray_pipeline.feeds.feed_registry import feed_named
from ray_pipeline.local.servers import ValkeyServer
from ray_pipeline.storage.redis.latest_cache import CacheLimits, LatestCache
from ray_pipeline.stream.cache import CacheUsage, LatestValue
from ray_pipeline.stream.cache_memory import MEGABYTE

TITLE = "Redis: memory of single seconds"
FEEDS = ("sp500", "bithumb")
SYMBOLS = 500
SAMPLE_S = 600
TTL_S = 432_000
MAXMEMORY_MB, BUDGET_MB = 192, 128


@dataclass(frozen=True, slots=True)
class ValueSize:
    """Bytes of `used_memory` a value, in both forms."""

    feed: str
    as_key: float
    packed: float


@dataclass(frozen=True, slots=True)
class Filled:
    """The state after hours of virtual time."""

    hours: float
    values: int
    used_bytes: int
    counted_bytes: int
    retention_s: float


def value_of(feed: str, symbol: str, event_ms: int, *, rng: random.Random) -> LatestValue:
    """Return a value as the feed writes it."""
    cents = rng.randrange(1_000, 90_000)
    if feed == "sp500":
        text = (
            f'{{"symbol":"{symbol}","price":{cents / 100},"volume":{rng.randrange(1, 500)},'
            f'"pod_index":{rng.randrange(1, 11)},"timestamp":{event_ms},'
            f'"source":"sp500_websocket","event_time_ms":{event_ms},"schema":1}}'
        )
    else:
        text = (
            f'{{"symbol":"{symbol}","market":"{symbol}","price":{cents * 100},'
            f'"change_rate":{rng.randrange(-999, 999) / 10_000:.8f},"change_price":{cents - 4_000},'
            f'"volume":{rng.random():.8f},"acc_trade_price_24h":{rng.random() * 1e11:.5f},'
            f'"timestamp":{event_ms},"source":"bithumb","event_time_ms":{event_ms},"schema":1}}'
        )
    return LatestValue(symbol, event_ms, text)


def seconds(feed: str, count: int, *, start_s: int) -> Iterator[tuple[int, list[LatestValue]]]:
    """Yield a value of every symbol for each second of virtual time."""
    rng = random.Random(1)
    symbols = [f"SY{number:03}" for number in range(SYMBOLS)]
    for now_s in range(start_s, start_s + count):
        yield (
            now_s,
            [
                value_of(feed, symbol, now_s * 1000 + rng.randrange(1000), rng=rng)
                for symbol in symbols
            ],
        )


def measure(*, hours: float) -> tuple[list[ValueSize], Filled]:
    """Measure the size of values, then fill a Redis for some virtual hours."""
    with temporary_home() as home:
        server = ValkeyServer(home / "valkey", durable=False)
        server.start()
        try:
            with redis.Redis.from_url(server.url) as client:
                sizes = [_size(client, server.url, feed) for feed in FEEDS]
                client.flushall()
                client.config_set("maxmemory", MAXMEMORY_MB * MEGABYTE)
                return sizes, asyncio.run(_fill(client, server.url, hours=hours))
        finally:
            server.stop()


def _size(client: redis.Redis, url: str, feed: str) -> ValueSize:
    prefix = feed_named(feed).redis.prefix
    client.flushall()
    empty = _used(client)
    for now_s, values in seconds(feed, SAMPLE_S, start_s=int(time.time())):
        pipe = client.pipeline(transaction=False)
        for value in values:
            pipe.set(f"realtime:{prefix}:{value.symbol}:{now_s}", value.value, ex=TTL_S)
        pipe.execute()
    as_key = (_used(client) - empty) / (SAMPLE_S * SYMBOLS)
    client.flushall()
    before = asyncio.run(_packed(client, url, feed, seconds_count=60))
    after = asyncio.run(_packed(client, url, feed, seconds_count=SAMPLE_S))
    return ValueSize(feed, as_key, (after - before) / ((SAMPLE_S - 60) * SYMBOLS))


async def _packed(client: redis.Redis, url: str, feed: str, *, seconds_count: int) -> int:
    client.flushall()
    clock = [0.0]
    cache = _cache(url, feed, budget_mb=10_000, clock=clock)
    start_s = int(time.time()) // 60 * 60
    for now_s, values in seconds(feed, seconds_count, start_s=start_s):
        await _write(cache, values, now_s=now_s, clock=clock)
    await cache.close()
    return _used(client)


async def _fill(client: redis.Redis, url: str, *, hours: float) -> Filled:
    clock = [0.0]
    cache = _cache(url, "sp500", budget_mb=BUDGET_MB, clock=clock)
    count = round(hours * 3600)
    highest = written = 0
    usage = None
    for now_s, values in seconds("sp500", count, start_s=int(time.time())):
        usage = await _write(cache, values, now_s=now_s, clock=clock)
        written += len(values)
        if now_s % 600 == 0:
            highest = max(highest, _used(client))
            say(f"{written:,} values, {highest / MEGABYTE:.0f} MB, {usage}")
    await cache.close()
    assert usage is not None
    return Filled(
        hours=hours,
        values=written,
        used_bytes=max(highest, _used(client)),
        counted_bytes=usage.total_bytes,
        retention_s=min(usage.retention_s, count),
    )


def _cache(url: str, feed: str, *, budget_mb: int, clock: list[float]) -> LatestCache:
    limits = CacheLimits(TTL_S, 2.0, budget_bytes=budget_mb * MEGABYTE, realtime_keys=60)
    return LatestCache(
        url, feed_named(feed), limits=limits, writer="benchmark", clock=lambda: clock[0]
    )


async def _write(
    cache: LatestCache, values: Sequence[LatestValue], *, now_s: float, clock: list[float]
) -> CacheUsage:
    if not clock[0]:
        await cache.begin_rebuild()
    clock[0] = now_s
    usage = await cache.write(values, complete_until_s=now_s)
    assert usage is not None, "Redis lost its data"
    return usage


def _used(client: redis.Redis) -> int:
    return int(client.info("memory")["used_memory"])


def section(sizes: Sequence[ValueSize], filled: Filled) -> str:
    """Return the section of RESULTS.md."""
    rows = "\n".join(
        f"| {size.feed} | {size.as_key:.0f} | {size.packed:.0f} | {size.as_key / size.packed:.1f} |"
        for size in sizes
    )
    return (
        "Bytes of the server's `used_memory` a value; 500 symbols, a value a second each.\n\n"
        "| feed | a key `realtime:*` | packed in `seconds:*` | ratio |\n|---|---|---|---|\n"
        f"{rows}\n\n"
        f"{filled.hours:g} h of virtual time, {filled.values:,} values of `sp500`, maxmemory "
        f"{MAXMEMORY_MB} MB, budget {BUDGET_MB} MB:\nthe server used at most "
        f"{filled.used_bytes / MEGABYTE:.0f} MB, {filled.counted_bytes / MEGABYTE:.0f} MB were "
        f"counted, and the last {filled.retention_s / 3600:.1f} h were kept."
    )
