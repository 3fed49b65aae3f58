"""
Pages of history, bars, gaps and dead letters.

Each page begins after the key of the last row of the page before (keyset pagination). An OFFSET
would read and discard all earlier rows, and rows that are inserted or deleted between two requests
would shift it, so that a row is returned twice or never.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import msgspec
from psycopg import sql
from psycopg.rows import dict_row

from ray_pipeline.feeds.feed import Feed
from ray_pipeline.feeds.layout import Layout
from ray_pipeline.feeds.records import to_ms
from ray_pipeline.storage.postgres import gap_rows
from ray_pipeline.storage.postgres.connection import Connection
from ray_pipeline.storage.postgres.symbol_scan import with_symbols
from ray_pipeline.stream.cache import LatestValue
from ray_pipeline.timestamps import EARLIEST, LATEST, in_utc

Row = dict[str, Any]

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
GAPS = sql.SQL("""
    SELECT {columns} FROM gaps
    WHERE (%(feed)s::text IS NULL OR feed = %(feed)s) AND id < %(before)s
    ORDER BY id DESC LIMIT %(limit)s
""").format(columns=gap_rows.COLUMNS)
# Without the payload, which is unchecked input from outside.
DEAD_LETTERS = sql.SQL("""
    SELECT id, feed, topic, partition, "offset", shard, epoch, seq, reason, detail, parked_at,
           state, resolved_at, resolution, length(payload) AS size_bytes
    FROM dead_letters
    WHERE (%(feed)s::text IS NULL OR feed = %(feed)s) AND state = %(state)s AND id < %(before)s
    ORDER BY id DESC LIMIT %(limit)s
""")
# LATERAL with LIMIT 1 makes this one index probe a symbol: the primary keys begin with the symbol
# and the event time.
NEWEST_OF = """
    SELECT newest.* FROM unnest(%(symbols)s::text[]) AS requested (symbol) CROSS JOIN LATERAL (
        SELECT * FROM {table} WHERE {symbol} = requested.symbol
        ORDER BY {event} DESC, epoch DESC, seq DESC LIMIT 1
    ) AS newest
"""
LAST_ID = 2**63 - 1
KEY_AFTER_EVENT = ("pod_index", "epoch", "seq", "created_at")


@dataclass(frozen=True, slots=True)
class PageRequest:
    """
    A request for one page of a symbol's records or bars.

    Attributes:
        after: A time, or the `next` of an earlier page; rows begin after it. None: the first page.
        limit: Maximum number of rows, at least 1.
        newest_first: The order.
    """

    symbol: str
    after: object | None
    limit: int
    newest_first: bool


@dataclass(frozen=True, slots=True)
class Page:
    """Rows, and the key of the last one if another page may follow; None after the last page."""

    rows: Sequence[Mapping[str, Any]]
    next: object | None


async def history(connection: Connection, spec: Feed, request: PageRequest) -> Page:
    """Return a page of a symbol's records by event time."""
    names, newest_first = _names(spec), request.newest_first
    condition: sql.Composable = sql.SQL("")
    if request.after is not None:
        *numbers, created_at = _history_key(request.after, newest_first=newest_first)
        literals = map(sql.Literal, (*numbers, _page_start(created_at, newest_first=newest_first)))
        # Not `{}::bigint`: in -9223372036854775808::bigint the sign comes after the cast.
        key = sql.SQL(
            "CAST({} AS bigint), CAST({} AS integer), CAST({} AS bigint), CAST({} AS bigint), "
            "CAST({} AS timestamp)"
        ).format(*literals)
        condition = sql.SQL(AFTER_RECORD).format(
            event=names["event"], sign=_sign(newest_first), key=key
        )
    query = sql.SQL(HISTORY).format(after=condition, direction=_direction(newest_first), **names)
    rows = await _rows(connection, query, {"symbol": request.symbol, "limit": request.limit})
    event = spec.layout.event_column
    return _page(
        rows, request.limit, key=lambda row: (row[event], *(row[name] for name in KEY_AFTER_EVENT))
    )


def _history_key(after: object, *, newest_first: bool) -> tuple[object, ...]:
    """
    Return the columns after the symbol in the sort order, as a page ends with them.

    A time becomes the key between its own rows and the rows after it: the other columns get a value
    that no row passes in this order.
    """
    if isinstance(after, datetime):
        edge = -1 if newest_first else 2**31 - 1
        end_of_time = "-infinity" if newest_first else "infinity"
        return to_ms(after), edge, edge, edge, end_of_time
    assert isinstance(after, tuple), "the `next` of a page of history"
    return after


async def bars(
    connection: Connection, spec: Feed, request: PageRequest, *, interval_s: int
) -> Page:
    """Return a page of a symbol's bars by their start."""
    newest_first = request.newest_first
    condition: sql.Composable = sql.SQL("")
    if request.after is not None:
        condition = sql.SQL("AND start_at {} %(after)s::timestamptz").format(_sign(newest_first))
    values = {
        "feed": spec.name,
        "symbol": request.symbol,
        "interval_s": interval_s,
        "after": _page_start(request.after, newest_first=newest_first),
        "limit": request.limit,
    }
    query = sql.SQL(BARS).format(after=condition, direction=_direction(newest_first))
    rows = await _rows(connection, query, values)
    return _page(rows, request.limit, key=lambda row: row["start_at"])


async def gaps(
    connection: Connection, *, feed_name: str | None, before: int | None, limit: int
) -> Page:
    """Return a page of gaps, newest first, those before the id `before`."""
    last = LAST_ID if before is None else before
    values = {"feed": feed_name, "before": last, "limit": limit}
    return _page(await _rows(connection, GAPS, values), limit, key=lambda row: row["id"])


async def dead_letters(
    connection: Connection, *, feed_name: str | None, state: str, before: int | None, limit: int
) -> Page:
    """Return a page of dead letters, newest first, those before the id `before`."""
    last = LAST_ID if before is None else before
    values = {"feed": feed_name, "state": state, "before": last, "limit": limit}
    return _page(await _rows(connection, DEAD_LETTERS, values), limit, key=lambda row: row["id"])


def _page(rows: list[Row], limit: int, *, key: Callable[[Row], object]) -> Page:
    # A full page may be the last one: then the next page is empty.
    return Page(rows, key(rows[-1]) if len(rows) == limit else None)


async def newest_values(
    connection: Connection, spec: Feed, symbols: Sequence[str]
) -> dict[str, str]:
    """Return the newest values in the form of Redis; symbols without a value are left out."""
    query = sql.SQL(NEWEST_OF).format(**_names(spec))
    rows = await _rows(connection, query, {"symbols": list(symbols)})
    return {value.symbol: value.value for value in latest_values(rows, spec.layout)}


async def symbols_of(connection: Connection, spec: Feed) -> list[str]:
    """Return every symbol that has history, in order."""
    cursor = await connection.execute(with_symbols("SELECT symbol FROM symbols", **_names(spec)))
    return [row[0] async for row in cursor]


def latest_values(rows: Iterable[Row], layout: Layout[Any]) -> list[LatestValue]:
    """Return the values of rows in the form of Redis, without rows that have nothing to show."""
    values = []
    for row in rows:
        record = msgspec.convert(row, layout.kind, strict=False)
        if (value := layout.value(record)) is not None:
            values.append(LatestValue(layout.symbol(record), layout.event_ms(record), value))
    return values


async def _rows(connection: Connection, query: sql.SQL | sql.Composed, values: Row) -> list[Row]:
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(query, values)
        rows = await cursor.fetchall()
    for row in rows:
        # Some tables have timestamps without a zone for other programs: they are in UTC.
        for name, value in row.items():
            if isinstance(value, datetime) and value.tzinfo is None:
                row[name] = value.replace(tzinfo=UTC)
    return rows


def _page_start(moment: object, *, newest_first: bool) -> object:
    """
    Return the time after which a page begins, as a value for Postgres.

    Postgres holds times that Python cannot represent. They are read as the first or the last time
    of Python, and a page ends with one of those. The next page must begin after all of them:
    otherwise it would begin with the last row of this page, and paging would never end.
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
