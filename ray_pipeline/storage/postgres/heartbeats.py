"""Producers' heartbeats in `producer_epochs`."""

import asyncio
from dataclasses import asdict
from datetime import datetime
from typing import LiteralString

import psycopg

from ray_pipeline.errors import DatabaseUnavailable, Disposition
from ray_pipeline.storage.postgres.connection import Connection, connect, disposition
from ray_pipeline.stream.heartbeat import Beat

QUERY_TIMEOUT_S = 5.0

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
"""

# One that was killed before its first record was acknowledged has only its heartbeat to show: what
# it received later is lost. One that stopped cleanly without a record has lost nothing.
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
    """Writes and reads heartbeats over one connection, reopened when it breaks."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._connection: Connection | None = None
        self._turn = asyncio.Lock()

    async def write(self, beat: Beat) -> None:
        """
        Insert or replace the row of an epoch.

        Raises:
            DatabaseUnavailable: If Postgres did not answer.
        """
        await self._execute(WRITE, asdict(beat))

    async def last_safe_at(self, feed: str, shard: int, *, before_epoch: int) -> datetime | None:
        """
        Return up to when the newest earlier epoch is complete, None where there is none.

        Raises:
            DatabaseUnavailable: If Postgres did not answer.
        """
        values = {"feed": feed, "shard": shard, "before_epoch": before_epoch}
        moment = await self._execute(LAST_SAFE_AT, values)
        return moment if isinstance(moment, datetime) else None

    async def close(self) -> None:
        """Close the connection."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()

    async def _execute(self, query: LiteralString, values: dict[str, object]) -> object:
        async with self._turn:
            try:
                async with asyncio.timeout(QUERY_TIMEOUT_S):
                    return await self._run(query, values)
            except (psycopg.Error, TimeoutError) as error:
                await self.close()
                if isinstance(error, psycopg.Error) and disposition(error) is not Disposition.RETRY:
                    raise
                raise DatabaseUnavailable(f"heartbeats cannot be written: {error}") from error
            except asyncio.CancelledError:
                # A statement was cut off: what the connection would answer next is unknown.
                await self.close()
                raise

    async def _run(self, query: LiteralString, values: dict[str, object]) -> object:
        if self._connection is None:
            self._connection = await connect(self._dsn, name="ray-pipeline heartbeats")
        cursor = await self._connection.execute(query, values)
        row = await cursor.fetchone() if cursor.description else None
        return row[0] if row else None
