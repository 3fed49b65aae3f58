"""Producers' heartbeats in `producer_epochs`."""

import time
from collections.abc import Callable
from dataclasses import asdict
from datetime import datetime
from typing import LiteralString

from ray_pipeline.storage.postgres.database_session import DatabaseSession
from ray_pipeline.stream.heartbeat import Beat

WRITE: LiteralString = """
INSERT INTO producer_epochs (
    feed, shard, epoch, holder, published, spooled, connected, state, cause, wanted, confirmed,
    received, reconnects, last_data_at, safe_at, heartbeat_at, stopped_at)
VALUES (
    %(feed)s, %(shard)s, %(epoch)s, %(holder)s, %(published)s, %(spooled)s, %(connected)s,
    %(state)s, %(cause)s, %(wanted)s, %(confirmed)s, %(received)s, %(reconnects)s,
    %(last_data_at)s, %(safe_at)s, clock_timestamp(), %(stopped_at)s)
ON CONFLICT (feed, shard, epoch) DO UPDATE
SET (published, spooled, connected, state, cause, wanted, confirmed, received, reconnects,
     last_data_at, safe_at, heartbeat_at, stopped_at)
  = (excluded.published, excluded.spooled, excluded.connected, excluded.state, excluded.cause,
     excluded.wanted, excluded.confirmed, excluded.received, excluded.reconnects,
     excluded.last_data_at, excluded.safe_at, excluded.heartbeat_at, excluded.stopped_at)
RETURNING extract(epoch FROM heartbeat_at)::float8
"""

# A producer that was killed before its first record was acknowledged is known by its heartbeat:
# everything it received after that is lost. One that stopped cleanly without a record lost nothing.
LAST_SAFE_AT: LiteralString = """
SELECT coalesce(
    (SELECT safe_at FROM producer_epochs
     WHERE feed = %(feed)s AND shard = %(shard)s AND epoch < %(before_epoch)s
       AND safe_at IS NOT NULL
     ORDER BY epoch DESC LIMIT 1),
    (SELECT min(heartbeat_at) FROM producer_epochs
     WHERE feed = %(feed)s AND shard = %(shard)s AND epoch < %(before_epoch)s
       AND stopped_at IS NULL))
"""


class Heartbeats:
    """
    Writes and reads heartbeats.

    Attributes:
        clock_ahead_s: Least difference between this machine's clock and the database's at the
            newest write; negative if it is behind.
    """

    def __init__(self, dsn: str, *, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self.clock_ahead_s = 0.0
        self._session = DatabaseSession(dsn, name="ray-pipeline heartbeats")

    async def write(self, beat: Beat) -> None:
        """
        Insert or replace the row of an epoch.

        Raises:
            DatabaseUnavailable: If Postgres did not answer.
        """
        async with self._session.connection() as connection:
            before_s = self._clock()
            cursor = await connection.execute(WRITE, asdict(beat))
            (database_s,) = await cursor.fetchone() or (before_s,)
        # The database read its clock between the two readings here. A slow answer therefore makes
        # the difference look smaller, never larger.
        self.clock_ahead_s = min(self._clock() - database_s, 0.0) or max(before_s - database_s, 0.0)

    async def last_safe_at(self, feed: str, shard: int, *, before_epoch: int) -> datetime | None:
        """
        Return up to when the newest earlier epoch is complete; None without an earlier epoch.

        Raises:
            DatabaseUnavailable: If Postgres did not answer.
        """
        values = {"feed": feed, "shard": shard, "before_epoch": before_epoch}
        async with self._session.connection() as connection:
            cursor = await connection.execute(LAST_SAFE_AT, values)
            row = await cursor.fetchone()
        return row[0] if row else None

    async def close(self) -> None:
        """Close the connection."""
        await self._session.close()
