"""Between which times of receipt the numbers of a missing range were received."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import LiteralString

import psycopg
from psycopg import sql

from ray_pipeline.storage.postgres.connection import Connection
from ray_pipeline.stream.batch import ShardEpoch
from ray_pipeline.stream.missing import MissingRange

log = logging.getLogger(__name__)

SCAN_TIMEOUT_MS = 1_000
# How far the scans of the history reach back from the epoch's newest record. A range usually
# expires within a minute; after an outage of Postgres, the records before it are older.
SCANNED = (timedelta(minutes=2), timedelta(hours=1), timedelta(days=1))

_LAST_RECEIVED: LiteralString = """
    SELECT last_received_at FROM stream_sequences WHERE feed = %s AND shard = %s AND epoch = %s
"""
# The stored records lie before, between and after the missing ranges: in segment 0 before the first
# range, in segment n after the last. The index on created_at is a BRIN index and the primary key
# begins with the symbol, so the cost depends on the time that is scanned. One scan answers for all
# ranges of an epoch.
_SEGMENTS: LiteralString = """
    SELECT width_bucket(seq, %(firsts)s::bigint[]),
           min(created_at) AT TIME ZONE 'UTC', max(created_at) AT TIME ZONE 'UTC'
    FROM {table}
    WHERE created_at >= %(since)s::timestamptz AT TIME ZONE 'UTC'
      AND created_at <= %(until)s::timestamptz AT TIME ZONE 'UTC'
      AND pod_index = %(shard)s AND epoch = %(epoch)s
    GROUP BY 1
"""


@dataclass(frozen=True, slots=True)
class ReceiptInterval:
    """
    Times of receipt around a missing range; None if no such stored record was found.

    Attributes:
        from_at: Of the last stored record before the range.
        to_at: Of the first stored record after it.
    """

    from_at: datetime | None
    to_at: datetime | None


Segments = Mapping[int, tuple[datetime, datetime]]  # by number: oldest and newest time of receipt


async def receipt_intervals(
    connection: Connection, feed: str, table: str, ranges: Sequence[MissingRange]
) -> list[ReceiptInterval]:
    """
    Return the interval of each range; the ranges are of one epoch, in the order of their numbers.

    Numbers that arrived without a row (dead letters, notices, snapshots) have no time in the
    history. An interval then ends at the next row: it may be too wide, but not too narrow.
    """
    shard_epoch = ranges[0].shard, ranges[0].epoch
    cursor = await connection.execute(_LAST_RECEIVED, (feed, *shard_epoch))
    row = await cursor.fetchone()
    segments: Segments = {}
    if row is not None and row[0] is not None:
        firsts = [item.first for item in ranges]
        segments = await _scan(connection, table, shard_epoch, firsts=firsts, newest_at=row[0])
    return [_interval(segments, number) for number in range(1, len(ranges) + 1)]


async def _scan(
    connection: Connection,
    table: str,
    shard_epoch: ShardEpoch,
    *,
    firsts: Sequence[int],
    newest_at: datetime,
) -> Segments:
    """Scan further back until a record before the first range is found, within the time limit."""
    query = sql.SQL(_SEGMENTS).format(table=sql.Identifier(table))
    shard, epoch = shard_epoch
    values = {"firsts": list(firsts), "shard": shard, "epoch": epoch, "until": newest_at}
    segments: Segments = {}
    for duration in SCANNED:
        try:
            async with connection.transaction():
                await connection.execute(f"SET LOCAL statement_timeout = {SCAN_TIMEOUT_MS}")
                cursor = await connection.execute(query, {**values, "since": newest_at - duration})
                segments = {number: (first, last) async for number, first, last in cursor}
        except psycopg.errors.QueryCanceled:
            log.info("%s: no scan of %s for the times of missing records", table, duration)
            break
        if 0 in segments:
            break
    return segments


def _interval(segments: Segments, number: int) -> ReceiptInterval:
    """Return the interval of a range, which is between the segments `number - 1` and `number`."""
    before = segments.get(max((key for key in segments if key < number), default=-1))
    after = segments.get(min((key for key in segments if key >= number), default=-1))
    from_at, to_at = before and before[1], after and after[0]
    if from_at and to_at and to_at < from_at:  # the producer's clock was set back
        from_at, to_at = to_at, from_at
    return ReceiptInterval(from_at, to_at)
