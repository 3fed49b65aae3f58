"""The trades that a consumer must recognise: the newest rows, and which of them are snapshots."""

from collections.abc import Iterable
from decimal import Decimal
from typing import LiteralString

from psycopg import sql

from ray_pipeline.feeds.feed import Feed
from ray_pipeline.feeds.records import RecordIdentity
from ray_pipeline.storage.postgres.connection import Connection
from ray_pipeline.stream.seen_trades import KEPT_TRADES, SnapshotChanges, TickerTrade

_ADD = """
    INSERT INTO snapshot_rows (feed, shard, epoch, seq)
    SELECT %s, added.*
    FROM unnest(%s::integer[], %s::bigint[], %s::bigint[]) AS added
    ON CONFLICT DO NOTHING
"""
_REMOVE = """
    DELETE FROM snapshot_rows
    WHERE feed = %s AND (shard, epoch, seq) IN (
        SELECT * FROM unnest(%s::integer[], %s::bigint[], %s::bigint[]))
"""

# The order of the rows is that of the primary key backwards: one descent of the index per symbol.
# All parts of the statement see the same state, so a row and its mark are always read together.
# Marks of older rows are of no further use: such a trade is not recognised any more.
_NEWEST_TRADES: LiteralString = """
    WITH newest AS MATERIALIZED (
        SELECT symbols.{symbol} AS symbol, rows.*
        FROM {latest} AS symbols CROSS JOIN LATERAL (
            SELECT {fields}, {event} AS event_ms, pod_index, epoch, seq
            FROM {table} WHERE {symbol} = symbols.{symbol}
            ORDER BY {event} DESC, pod_index DESC, epoch DESC, seq DESC LIMIT {limit}
        ) AS rows (time_ms, price, volume, total, event_ms, pod_index, epoch, seq)
    ), outdated AS (
        DELETE FROM snapshot_rows AS mark WHERE feed = {feed} AND NOT EXISTS (
            SELECT FROM newest WHERE (newest.pod_index, newest.epoch, newest.seq)
                                   = (mark.shard, mark.epoch, mark.seq))
    )
    SELECT symbol, time_ms, price, volume, total, mark.shard, mark.epoch, mark.seq
    FROM newest LEFT JOIN snapshot_rows AS mark
        ON mark.feed = {feed} AND (mark.shard, mark.epoch, mark.seq)
                                = (newest.pod_index, newest.epoch, newest.seq)
    ORDER BY event_ms, newest.epoch, newest.seq
"""


async def write_snapshots(connection: Connection, feed: str, changes: SnapshotChanges) -> None:
    """Write which rows are snapshots of unconfirmed trades, in the transaction of their batch."""
    for statement, rows in ((_ADD, changes.added), (_REMOVE, changes.settled)):
        if rows:
            await connection.execute(statement, (feed, *_columns(rows)))


async def read_trades(connection: Connection, feed: Feed) -> list[TickerTrade]:
    """Return the newest trades of each symbol, oldest first."""
    cursor = await connection.execute(_newest_trades(feed))
    return [_trade(*row) async for row in cursor]


def _trade(
    symbol: str,
    time_ms: int | None,
    price: Decimal | None,
    volume: Decimal | None,
    total: Decimal | None,
    *mark: int | None,
) -> TickerTrade:
    """Return a trade; its mark is all null if the stream has delivered it."""
    shard, epoch, seq = mark
    if shard is None or epoch is None or seq is None:
        return TickerTrade(symbol, time_ms, price, volume, total)
    return TickerTrade(symbol, time_ms, price, volume, total, RecordIdentity(shard, epoch, seq))


def _newest_trades(feed: Feed) -> sql.Composed:
    layout = feed.layout
    return sql.SQL(_NEWEST_TRADES).format(
        feed=feed.name,
        latest=sql.Identifier(feed.latest_table or feed.table),
        table=sql.Identifier(feed.table),
        symbol=sql.Identifier(layout.symbol_column),
        event=sql.Identifier(layout.event_column),
        fields=sql.SQL(", ").join(map(sql.Identifier, layout.trade_columns)),
        limit=KEPT_TRADES,
    )


def _columns(rows: Iterable[RecordIdentity]) -> tuple[list[int], list[int], list[int]]:
    """Return the shards, epochs and numbers of rows."""
    identities = [(row.shard, row.epoch, row.seq) for row in rows]
    shards, epochs, seqs = zip(*identities, strict=True)
    return list(shards), list(epochs), list(seqs)
