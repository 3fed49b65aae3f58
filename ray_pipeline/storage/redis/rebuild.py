"""Redis from Postgres: the newest value of every symbol, and the seconds that Redis missed."""

from collections.abc import Callable
from typing import TypeVar

import msgspec
import psycopg
from psycopg import sql
from psycopg.rows import dict_row

from ray_pipeline.errors import DatabaseUnavailable
from ray_pipeline.feeds.feed import FeedSpec
from ray_pipeline.feeds.records import Ticker, Trade
from ray_pipeline.storage.postgres.connection import connect
from ray_pipeline.storage.postgres.symbol_scan import with_symbols
from ray_pipeline.stream.cache import LatestValue
from ray_pipeline.stream.consumer_ports import LatestStore, Rebuild
from ray_pipeline.stream.rows import Layout

T = TypeVar("T", Trade, Ticker)

CHUNK = 2_000
# Single seconds from before this are left out: their keys are a convenience, and rebuilding them
# after a long outage would delay the current values.
LONGEST_S = 3600.0

_NEWEST = """
    SELECT newest.* FROM symbols CROSS JOIN LATERAL (
        SELECT * FROM {table} WHERE {symbol} = symbols.symbol
        ORDER BY {event_ms} DESC, epoch DESC, seq DESC LIMIT 1
    ) AS newest
"""
_MISSED = """
    SELECT DISTINCT ON ({symbol}, {event_ms} / 1000) * FROM {table}
    WHERE created_at >= to_timestamp({since}) AT TIME ZONE 'UTC'
    ORDER BY {symbol}, {event_ms} / 1000, {event_ms} DESC, epoch DESC, seq DESC
"""


def rebuilder(
    dsn: str, spec: FeedSpec, layout: Layout[T], *, clock: Callable[[], float]
) -> Rebuild:
    """Return the function that rebuilds one feed's values; see `stream.consumer_ports.Rebuild`."""
    columns = (
        ("market", "timestamp_field") if spec.name == "bithumb" else ("symbol", "timestamp_ms")
    )

    async def rebuild(cache: LatestStore, since_s: float) -> None:
        floor_s = clock() - LONGEST_S
        names = {
            "symbol": sql.Identifier(columns[0]),
            "event_ms": sql.Identifier(columns[1]),
            "table": sql.Identifier(spec.table),
            # Two seconds more, for rows that were stored while the last write was in flight.
            "since": sql.Literal(max(since_s - 2.0, floor_s)),
        }
        await _copy(dsn, sql.SQL(_MISSED).format(**names), layout, cache)
        await _copy(dsn, with_symbols(_NEWEST, **names), layout, cache)

    return rebuild


async def _copy(dsn: str, query: sql.Composed, layout: Layout[T], cache: LatestStore) -> None:
    connection = await connect(dsn, name="ray-pipeline rebuild", autocommit=False)
    try:
        async with connection.cursor("rebuild", row_factory=dict_row) as cursor:
            await cursor.execute(query)
            while rows := await cursor.fetchmany(CHUNK):
                values = [
                    value for row in rows if (value := _latest_value(row, layout)) is not None
                ]
                values.sort(key=lambda value: (value.symbol, value.event_ms))
                await cache.write(values)
    except psycopg.Error as error:
        raise DatabaseUnavailable(f"Postgres cannot be read for the rebuild: {error}") from error
    finally:
        await connection.close()


def _latest_value(row: dict[str, object], layout: Layout[T]) -> LatestValue | None:
    record = msgspec.convert(row, layout.kind, strict=False)
    value = layout.value(record)
    if value is None:
        return None
    return LatestValue(layout.symbol(record), layout.event_ms(record), value)
