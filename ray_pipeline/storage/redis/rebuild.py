"""Redis from Postgres: the newest value of every symbol, and the seconds that Redis missed."""

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import TypeVar

import psycopg
from psycopg import sql
from psycopg.rows import dict_row

from ray_pipeline.errors import CacheUnavailable, DatabaseUnavailable
from ray_pipeline.feeds.feed import Feed
from ray_pipeline.feeds.layout import Layout
from ray_pipeline.feeds.records import Record
from ray_pipeline.storage.postgres.connection import connect
from ray_pipeline.storage.postgres.pages import latest_values
from ray_pipeline.storage.postgres.symbol_scan import with_symbols
from ray_pipeline.stream.cache import CacheUsage, LatestValue
from ray_pipeline.stream.consumer_ports import LatestStore, Rebuild

T = TypeVar("T", bound=Record)
Write = Callable[[Sequence[LatestValue]], Awaitable[CacheUsage | None]]

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


def rebuilder(dsn: str, spec: Feed, layout: Layout[T], *, clock: Callable[[], float]) -> Rebuild:
    """Return the function that rebuilds one feed's values; see `stream.consumer_ports.Rebuild`."""

    async def rebuild(cache: LatestStore, since_s: float) -> None:
        floor_s = clock() - LONGEST_S
        names = {
            "symbol": sql.Identifier(layout.symbol_column),
            "event_ms": sql.Identifier(layout.event_column),
            "table": sql.Identifier(spec.table),
            # Two seconds more, for rows that were stored while the last write was in flight.
            "since": sql.Literal(max(since_s - 2.0, floor_s)),
        }
        # The newest values first: otherwise an emptied cache would show each earlier second as the
        # latest value for a moment.
        for query in (with_symbols(_NEWEST, **names), sql.SQL(_MISSED).format(**names)):
            await _copy(dsn, query, layout, partial(cache.write, complete_until_s=since_s))

    return rebuild


async def _copy(dsn: str, query: sql.Composed, layout: Layout[T], write: Write) -> None:
    connection = await connect(dsn, name="ray-pipeline rebuild", autocommit=False)
    try:
        async with connection.cursor("rebuild", row_factory=dict_row) as cursor:
            await cursor.execute(query)
            while rows := await cursor.fetchmany(CHUNK):
                values = latest_values(rows, layout)
                values.sort(key=lambda value: (value.symbol, value.event_ms))
                if await write(values) is None:
                    raise CacheUnavailable("Redis lost its data while it was rebuilt")
    except psycopg.Error as error:
        raise DatabaseUnavailable(f"Postgres cannot be read for the rebuild: {error}") from error
    finally:
        await connection.close()
