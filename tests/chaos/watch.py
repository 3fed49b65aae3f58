"""Watch a run from outside: how much was sent, how much is stored, and when each shard moved."""

import asyncio
import contextlib
import time
from dataclasses import dataclass, field

import aiohttp
import psycopg

from tests.chaos.stack import SHARDS, Stack

POLL_S = 0.25
ANSWER_S = 2.0
STORED = """
    SELECT shard, sum(stored + parked)::bigint FROM stream_sequences
    WHERE feed = 'sp500' GROUP BY shard
"""


@dataclass(slots=True)
class Watch:
    """
    Counts, polled a few times a second past every link.

    Attributes:
        sent: Trades that the venue wrote.
        stored: Records that Postgres has, by shard.
        moved_s: When the count of each shard last grew, `time.time`.
    """

    stack: Stack
    sent: int = 0
    stored: dict[int, int] = field(default_factory=dict)
    moved_s: dict[int, float] = field(default_factory=dict)
    _connection: psycopg.AsyncConnection | None = None

    @property
    def total(self) -> int:
        """The stored records of all shards."""
        return sum(self.stored.values())

    async def run(self) -> None:
        """Poll until cancelled."""
        try:
            await asyncio.gather(self._poll_postgres(), self._poll_venue())
        finally:
            await self._disconnect()

    async def flowing(self, shards: frozenset[int], *, since_s: float) -> None:
        """Wait until each of the shards has stored something after a moment."""
        while any(self.moved_s.get(shard, 0.0) <= since_s for shard in shards):
            await asyncio.sleep(POLL_S / 2)

    async def _poll_venue(self) -> None:
        while True:
            with contextlib.suppress(aiohttp.ClientError, TimeoutError):
                self.sent = await self.stack.venue.sent()
            await asyncio.sleep(4 * POLL_S)

    async def _poll_postgres(self) -> None:
        while True:
            try:
                async with asyncio.timeout(ANSWER_S):
                    await self._read()
            except (psycopg.Error, TimeoutError):
                await self._disconnect()
            await asyncio.sleep(POLL_S)

    async def _read(self) -> None:
        if self._connection is None:
            self._connection = await psycopg.AsyncConnection.connect(
                self.stack.postgres.dsn, autocommit=True
            )
        cursor = await self._connection.execute(STORED)
        for shard, count in await cursor.fetchall():
            if shard in SHARDS and count > self.stored.get(shard, 0):
                self.stored[shard] = int(count)
                self.moved_s[shard] = time.time()

    async def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()
