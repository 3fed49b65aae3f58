"""The newest record of each symbol in Postgres, and the symbols for which Redis is behind."""

import asyncio
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from psycopg import sql
from redis.asyncio import Redis
from redis.exceptions import RedisError

from ray_pipeline.errors import CacheUnavailable
from ray_pipeline.feeds.feed import Feed
from ray_pipeline.settings import Settings
from ray_pipeline.storage.postgres.any_time import age_s
from ray_pipeline.storage.postgres.connection import Connection
from ray_pipeline.storage.postgres.symbol_scan import with_symbols
from ray_pipeline.storage.redis.latest_cache import client, versions_key

POLL_S = 0.1
NEWEST = """
    SELECT symbols.symbol, newest.event_ms, newest.age_s
    FROM symbols CROSS JOIN LATERAL (
        SELECT {event} AS event_ms, {age_s} AS age_s
        FROM {table} WHERE {symbol} = symbols.symbol AND {price} IS NOT NULL
        ORDER BY {event} DESC LIMIT 1
    ) AS newest
"""


@dataclass(frozen=True, slots=True)
class Newest:
    """A symbol's newest row: its event time, and the seconds since it was received."""

    symbol: str
    event_ms: int
    age_s: float


async def newest_by_symbol(connection: Connection, feed: Feed) -> list[Newest]:
    """Return the newest row of each symbol of a feed, by event time, in order of symbols."""
    cursor = await connection.execute(
        with_symbols(
            NEWEST,
            table=sql.Identifier(feed.table),
            symbol=sql.Identifier(feed.layout.symbol_column),
            event=sql.Identifier(feed.layout.event_column),
            price=sql.Identifier(feed.layout.price_column),
            age_s=age_s("created_at AT TIME ZONE 'UTC'"),
        )
    )
    return [Newest(*row) async for row in cursor]


async def behind(
    settings: Settings, newest: Mapping[str, Sequence[Newest]], *, deadline_s: float
) -> dict[str, tuple[str, ...]]:
    """
    Return, per feed, the symbols for which Redis holds nothing or something older than `newest`.

    Consumers write Redis concurrently with Postgres, so a value may arrive after its row. Symbols
    that lag are read again until `deadline_s` of the monotonic clock. Values past their time to
    live are not expected in Redis.

    Raises:
        CacheUnavailable: If Redis cannot be reached.
    """
    cache = client(settings.redis_url())
    lagging: dict[str, tuple[str, ...]] = {}
    try:
        for feed in settings.enabled_feeds():
            rows = newest.get(feed.name, ())
            expected = [row for row in rows if row.age_s < settings.feeds[feed.name].ttl_s]
            late = await _late(cache, feed, expected)
            # Only the symbols that lag are read again; the others cannot fall behind this snapshot.
            while late and time.monotonic() < deadline_s:
                await asyncio.sleep(POLL_S)
                late = await _late(cache, feed, late)
            lagging[feed.name] = tuple(row.symbol for row in late)
    except (RedisError, OSError) as error:
        raise CacheUnavailable(
            f"Redis cannot be read: {error}",
            fix="check PIPELINE_REDIS__URL and that the server runs; run `ray-pipeline doctor`",
        ) from error
    finally:
        await cache.aclose()
    return lagging


async def _late(cache: Redis, feed: Feed, expected: Sequence[Newest]) -> list[Newest]:
    if not expected:
        return []
    symbols = [row.symbol for row in expected]
    claimed = await cache.hmget(versions_key(feed.name), symbols)
    values = await cache.mget([f"latest:{feed.redis.prefix}:{symbol}" for symbol in symbols])
    return [
        row
        for row, claim, value in zip(expected, claimed, values, strict=True)
        if held_ms(claim, value) < row.event_ms
    ]


def held_ms(claim: str | bytes | None, value: str | bytes | None) -> int:
    """
    Return the event time of the value in Redis in milliseconds, 0 if Redis has no value.

    `claim` is the version that the consumers recorded, `value` is what clients read. The older of
    the two counts, so that the loss of either is noticed.
    """
    # A value that cannot be read counts as lost: the audit reports it instead of failing.
    if claim is None or value is None:
        return 0
    try:
        return min(int(claim), int(json.loads(value)["event_time_ms"]))
    except (ValueError, TypeError, KeyError):
        return 0
