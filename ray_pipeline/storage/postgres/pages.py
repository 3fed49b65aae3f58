"""History, bars, gaps, dead letters: a page at a time, each from behind a key, not an offset."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
from psycopg import sql
from psycopg.rows import dict_row

from ray_pipeline.feeds.feed import Feed
from ray_pipeline.feeds.layout import Layout
from ray_pipeline.storage.postgres.connection import Connection
from ray_pipeline.stream.cache import LatestValue
from ray_pipeline.timestamps import EARLIEST, LATEST, in_utc

Row = dict[str, Any]
Key = Sequence[object]

HISTORY = """
    SELECT * FROM {table} WHERE {symbol} = %(symbol)s {after}
    ORDER BY {symbol} {direction}, {event} {direction}, pod_index {direction}, epoch {direction},
             seq {direction}, created_at {direction}
    LIMIT %(limit)s
"""
AFTER_RECORD = "AND ({event}, pod_index, epoch, seq, created_at) {sign} ({key})"
BARS = """
    SELECT start_at, open, high, low, close, volume, trades FROM bars
    WHERE feed = %(feed)s AND symbol = %(symbol)s AND interval_s = %(interval_s)s {after}
    ORDER BY start_at {direction} LIMIT %(limit)s
"""
GAPS = """
    SELECT id, feed, shard, epoch, seq, kind, symbols, from_at, to_at, first_seq, last_seq, cause,
           recorded_at
    FROM gaps
    WHERE (%(feed)s::text IS NULL OR feed = %(feed)s) AND id < %(before)s
    ORDER BY id DESC LIMIT %(limit)s
"""
# Without the payload: it is what somebody sent, and nobody knows what is in it.
LETTERS = """
    SELECT id, feed, topic, partition, "offset", shard, epoch, seq, reason, detail, parked_at,
           state, resolved_at, resolution, length(payload) AS size_bytes
    FROM dead_letters
    WHERE (%(feed)s::text IS NULL OR feed = %(feed)s) AND state = %(state)s AND id < %(before)s
    ORDER BY id DESC LIMIT %(limit)s
"""
# One probe of the index a symbol: the primary keys begin with symbol and event time.
NEWEST_OF = """
    SELECT newest.* FROM unnest(%(symbols)s::text[]) AS wanted (symbol) CROSS JOIN LATERAL (
        SELECT * FROM {table} WHERE {symbol} = wanted.symbol
        ORDER BY {event} DESC, epoch DESC, seq DESC LIMIT 1
    ) AS newest
"""
SYMBOLS = """
    WITH RECURSIVE symbols AS (
        (SELECT {symbol} AS symbol FROM {table} ORDER BY {symbol} LIMIT 1)
        UNION ALL
        SELECT (SELECT {symbol} FROM {table} WHERE {symbol} > symbols.symbol
                ORDER BY {symbol} LIMIT 1)
        FROM symbols WHERE symbols.symbol IS NOT NULL
    )
    SELECT symbol FROM symbols WHERE symbol IS NOT NULL
"""
LAST_ID = 2**63 - 1


def record_key(spec: Feed, row: Row) -> tuple[object, ...]:
    """Return the key of a row of history, without its symbol, as `history` takes it."""
    event = spec.layout.event_column
    return row[event], row["pod_index"], row["epoch"], row["seq"], row["created_at"]


def time_key(event_ms: int, *, newest_first: bool) -> tuple[object, ...]:
    """Return the key after which history goes on behind a moment."""
    edge = -1 if newest_first else 2**31 - 1
    return event_ms, edge, edge, edge, "-infinity" if newest_first else "infinity"


async def history(
    connection: Connection,
    spec: Feed,
    symbol: str,
    *,
    after: Key | None,
    limit: int,
    newest_first: bool,
) -> list[Row]:
    """Return a symbol's records by event time, from behind the key `after`."""
    names = _names(spec)
    condition: sql.Composable = sql.SQL("")
    if after is not None:
        *numbers, created_at = after
        literals = map(sql.Literal, (*numbers, _passed(created_at, newest_first=newest_first)))
        # Not `{}::bigint`: in -9223372036854775808::bigint the sign comes after the cast.
        key = sql.SQL(
            "CAST({} AS bigint), CAST({} AS integer), CAST({} AS bigint), CAST({} AS bigint), "
            "CAST({} AS timestamp)"
        ).format(*literals)
        condition = sql.SQL(AFTER_RECORD).format(
            event=names["event"],
            sign=_sign(newest_first),
            key=key,
        )
    query = sql.SQL(HISTORY).format(after=condition, direction=_direction(newest_first), **names)
    return await _rows(connection, query, {"symbol": symbol, "limit": limit})


async def bars(
    connection: Connection,
    spec: Feed,
    symbol: str,
    *,
    interval_s: int,
    after: datetime | None,
    limit: int,
    newest_first: bool,
) -> list[Row]:
    """Return a symbol's bars by their start, from behind `after`."""
    condition: sql.Composable = sql.SQL("")
    if after is not None:
        condition = sql.SQL("AND start_at {} %(after)s::timestamptz").format(_sign(newest_first))
    return await _rows(
        connection,
        sql.SQL(BARS).format(after=condition, direction=_direction(newest_first)),
        {
            "feed": spec.name,
            "symbol": symbol,
            "interval_s": interval_s,
            "after": _passed(after, newest_first=newest_first),
            "limit": limit,
        },
    )


async def gaps(
    connection: Connection, *, feed_name: str | None, before: int | None, limit: int
) -> list[Row]:
    """Return gaps, the newest first, from behind the id `before`."""
    values = {"feed": feed_name, "before": LAST_ID if before is None else before, "limit": limit}
    return await _rows(connection, sql.SQL(GAPS), values)


async def letters(
    connection: Connection, *, feed_name: str | None, state: str, before: int | None, limit: int
) -> list[Row]:
    """Return dead letters without their payloads, the newest first, from behind `before`."""
    last = LAST_ID if before is None else before
    values = {"feed": feed_name, "state": state, "before": last, "limit": limit}
    return await _rows(connection, sql.SQL(LETTERS), values)


async def newest_values(
    connection: Connection, spec: Feed, symbols: Sequence[str]
) -> dict[str, str]:
    """Return symbols' newest values as Redis would have them; symbols without one are left out."""
    query = sql.SQL(NEWEST_OF).format(**_names(spec))
    rows = await _rows(connection, query, {"symbols": list(symbols)})
    entries = [_entry(row, spec.layout) for row in rows]
    return {entry.symbol: entry.value for entry in entries if entry is not None}


async def symbols_of(connection: Connection, spec: Feed) -> list[str]:
    """Return every symbol of which there is history, in order."""
    cursor = await connection.execute(sql.SQL(SYMBOLS).format(**_names(spec)))
    return [row[0] async for row in cursor]


def _entry(row: Row, layout: Layout[Any]) -> LatestValue | None:
    record = msgspec.convert(row, layout.kind, strict=False)
    value = layout.value(record)
    if value is None:
        return None
    return LatestValue(layout.symbol(record), layout.event_ms(record), value)


async def _rows(connection: Connection, query: sql.SQL | sql.Composed, values: Row) -> list[Row]:
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(query, values)
        rows = await cursor.fetchall()
    for row in rows:
        # The naive timestamps of tables that other programs read hold UTC.
        for name, value in row.items():
            if isinstance(value, datetime) and value.tzinfo is None:
                row[name] = value.replace(tzinfo=UTC)
    return rows


def _passed(moment: object, *, newest_first: bool) -> object:
    """
    Return the time behind which a page begins, as Postgres reads it.

    The first and the last time of Python stand for all that Postgres has beyond them. A page
    begins behind all of these: it would begin with the last row of the page before otherwise, and
    paging would not end.
    """
    if not isinstance(moment, datetime):
        return moment
    utc = in_utc(moment)
    if newest_first and utc == EARLIEST:
        return "-infinity"
    if not newest_first and utc == LATEST:
        return "infinity"
    return utc


def _names(spec: Feed) -> dict[str, sql.Identifier]:
    return {
        "table": sql.Identifier(spec.table),
        "symbol": sql.Identifier(spec.layout.symbol_column),
        "event": sql.Identifier(spec.layout.event_column),
    }


def _direction(newest_first: bool) -> sql.SQL:
    return sql.SQL("DESC") if newest_first else sql.SQL("ASC")


def _sign(newest_first: bool) -> sql.SQL:
    return sql.SQL("<") if newest_first else sql.SQL(">")
