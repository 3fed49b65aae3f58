"""One pace for the whole cluster, kept in the table `pacers`."""

import asyncio
import logging
import time
from typing import LiteralString

import psycopg

from ray_pipeline.errors import DatabaseUnavailable
from ray_pipeline.storage.postgres.connection import Connection, connect

log = logging.getLogger(__name__)

QUERY_TIMEOUT_S = 2.0

# Returns how long to wait: from now to the moment that this call took for itself.
TAKE: LiteralString = """
INSERT INTO pacers AS taken (name, next_at)
VALUES (%(name)s, clock_timestamp() + make_interval(secs => %(pause_s)s))
ON CONFLICT (name) DO UPDATE
SET next_at = greatest(taken.next_at, clock_timestamp()) + make_interval(secs => %(pause_s)s)
RETURNING extract(epoch FROM next_at - clock_timestamp())::float8 - %(pause_s)s
"""


class Pacer:
    """Spaces what several processes do; without Postgres, at least what this one does."""

    def __init__(self, dsn: str, name: str, *, pause_s: float) -> None:
        self._dsn = dsn
        self._name = name
        self._pause_s = pause_s
        self._next_s = 0.0

    async def turn(self) -> None:
        """Wait for the next free moment. Callers are served in the order in which they asked."""
        if self._pause_s <= 0:
            return
        try:
            async with asyncio.timeout(QUERY_TIMEOUT_S):
                wait_s = await self._take()
        except (DatabaseUnavailable, psycopg.Error, TimeoutError) as error:
            log.info("%s is paced by this process alone: %s", self._name, error)
            wait_s = self._local_wait_s(time.monotonic())
        await asyncio.sleep(max(wait_s, 0.0))

    async def _take(self) -> float:
        # A connection for each turn: turns are rare, and idle connections are not free.
        connection: Connection = await connect(self._dsn, name="ray-pipeline pacer")
        try:
            cursor = await connection.execute(TAKE, {"name": self._name, "pause_s": self._pause_s})
            row = await cursor.fetchone()
        finally:
            await connection.close()
        return float(row[0]) if row else 0.0

    def _local_wait_s(self, now_s: float) -> float:
        at_s = max(self._next_s, now_s)
        self._next_s = at_s + self._pause_s
        return at_s - now_s
