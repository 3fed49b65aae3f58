"""A ledger for many concurrent callers that survives outages of Postgres."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from typing import TypeVar

from ray_pipeline.batch.permits import NotBefore, Pause, Permit
from ray_pipeline.errors import DatabaseUnavailable
from ray_pipeline.storage.postgres.connection import Connection, connect, outages
from ray_pipeline.storage.postgres.ledger import Ledger

T = TypeVar("T")

TRIES = 2  # with a connection that may have died since the last call, and with a new one


class SharedLedger:
    """Uses one connection for all callers, one call at a time, and replaces it if it dies."""

    def __init__(self, dsn: str, keys: Mapping[str, Sequence[str]], *, speed: float) -> None:
        """Connect at the first call; see `Ledger` for the arguments."""
        self._dsn = dsn
        self._keys = keys
        self._speed = speed
        self._connection: Connection | None = None
        self._turn = asyncio.Lock()

    async def acquire(
        self, provider: str, *, job: str, sweep: bool, calls: int = 1, key: str | None = None
    ) -> Permit | NotBefore:
        """
        Return a permit for up to `calls` calls of one key, or when to request again.

        Raises:
            DatabaseUnavailable: If Postgres is unavailable; no call is permitted.
        """
        return await self._use(
            lambda ledger: ledger.acquire(provider, job=job, sweep=sweep, calls=calls, key=key)
        )

    async def finished(self, ids: Sequence[int]) -> None:
        """
        Record that these calls have been answered; see `Ledger.finished`.

        Raises:
            DatabaseUnavailable: If Postgres is unavailable.
        """
        await self._use(lambda ledger: ledger.finished(ids))

    async def cooldown(
        self, provider: str, key: str, *, pause: Pause, reason: str
    ) -> datetime | None:
        """
        Do not permit calls of a key during a pause; see `Ledger.cooldown`.

        Raises:
            DatabaseUnavailable: If Postgres is unavailable.
        """
        return await self._use(
            lambda ledger: ledger.cooldown(provider, key, pause=pause, reason=reason)
        )

    async def prune(self) -> None:
        """
        Delete calls that are too old for every window.

        Raises:
            DatabaseUnavailable: If Postgres is unavailable.
        """
        await self._use(lambda ledger: ledger.prune())

    async def close(self) -> None:
        """Close the connection."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()

    async def _use(self, call: Callable[[Ledger], Awaitable[T]]) -> T:
        # If a connection dies after the commit, the caller repeats a request that is counted
        # already. The lost permit wastes calls, which is safe; not counting them would not be.
        async with self._turn:
            for attempt in range(TRIES):
                try:
                    with outages():
                        return await call(await self._ledger())
                except DatabaseUnavailable:
                    await self.close()
                    if attempt + 1 == TRIES:
                        raise
        raise AssertionError("the last try returns or raises")

    async def _ledger(self) -> Ledger:
        if self._connection is None or self._connection.closed:
            self._connection = await connect(self._dsn, name="limiter")
        return Ledger(self._connection, self._keys, speed=self._speed)
