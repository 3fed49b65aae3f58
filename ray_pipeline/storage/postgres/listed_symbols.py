"""Which feeds list a symbol, and when its newest record was received."""

from collections.abc import Iterable

from psycopg import sql

from ray_pipeline.feeds.feed import Feed
from ray_pipeline.observe.why_symbol import ListedSymbol
from ray_pipeline.storage.postgres.any_time import age_s
from ray_pipeline.storage.postgres.connection import Connection
from ray_pipeline.storage.postgres.symbols import read_symbols

_NEWEST_AGE = "SELECT {age_s} FROM {table} WHERE {symbol} = %s ORDER BY {event} DESC LIMIT 1"


async def listed_symbols(
    connection: Connection, feeds: Iterable[Feed], name: str
) -> list[ListedSymbol]:
    """Return the symbol in every feed that lists it, in the feed's spelling."""
    listed = []
    for feed in feeds:
        symbol = feed.symbols.spelling(name)
        if symbol in await read_symbols(connection, feed.symbols):
            listed.append(ListedSymbol(feed.name, symbol, await _age_s(connection, feed, symbol)))
    return listed


async def _age_s(connection: Connection, feed: Feed, symbol: str) -> float | None:
    query = sql.SQL(_NEWEST_AGE).format(
        age_s=age_s("created_at AT TIME ZONE 'UTC'"),
        table=sql.Identifier(feed.table),
        symbol=sql.Identifier(feed.layout.symbol_column),
        event=sql.Identifier(feed.layout.event_column),
    )
    cursor = await connection.execute(query, (symbol,))
    row = await cursor.fetchone()
    return None if row is None else row[0]
