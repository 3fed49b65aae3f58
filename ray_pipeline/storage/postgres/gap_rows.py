"""The rows of `gaps`: what could not be collected."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from psycopg import sql
from psycopg.rows import class_row

from ray_pipeline.storage.postgres.connection import Connection

COLUMNS = sql.SQL(
    "id, feed, shard, epoch, seq, kind, symbols, from_at, to_at, first_seq, last_seq, cause, "
    "recorded_at"
)
LIST = sql.SQL("""
    SELECT {columns} FROM gaps
    WHERE (%(feed)s::text IS NULL OR feed = %(feed)s)
      AND (%(since)s::timestamptz IS NULL OR recorded_at >= %(since)s)
    ORDER BY recorded_at, id
""").format(columns=COLUMNS)
COUNTS = "SELECT feed, count(*) FROM gaps GROUP BY feed"


@dataclass(frozen=True, slots=True)
class GapRow:
    """A time, or a range of numbers, that is missing from a shard's records, and why."""

    id: int
    feed: str
    shard: int
    epoch: int
    seq: int | None
    kind: str
    symbols: list[str] | None  # None: all symbols of the shard
    from_at: datetime | None
    to_at: datetime | None
    first_seq: int | None
    last_seq: int | None
    cause: str
    recorded_at: datetime


async def list_gaps(
    connection: Connection, *, feed_name: str | None = None, since: datetime | None = None
) -> list[GapRow]:
    """Return the gaps of a feed, or of all, recorded at or after `since`; oldest first."""
    cursor = connection.cursor(row_factory=class_row(GapRow))
    await cursor.execute(LIST, {"feed": feed_name, "since": since})
    return await cursor.fetchall()


async def count_gaps(connection: Connection) -> Mapping[str, int]:
    """Return how many gaps each feed has, over all time; feeds without gaps are left out."""
    return {feed: count async for feed, count in await connection.execute(COUNTS)}
