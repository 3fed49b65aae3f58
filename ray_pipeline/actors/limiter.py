"""The limiter as an actor: all jobs of a cluster ask it, and it asks the ledger."""

import asyncio
import contextlib
import os
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import TypeVar

from ray_pipeline.actors.producer import leave
from ray_pipeline.batch.permits import NotBefore, Permit
from ray_pipeline.errors import DatabaseUnavailable
from ray_pipeline.settings import Settings
from ray_pipeline.storage.postgres.connection import Connection, connect, outages
from ray_pipeline.storage.postgres.ledger import Ledger

T = TypeVar("T")

NAME = "limiter"
PRUNE_S = 3600.0
TRIES = 2  # with a connection that may have died since the last call, and with a new one


class LimiterActor:
    """Gives the ledger a mailbox. Its truth is in Postgres: a restart forgets nothing."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._keys = settings.key_fingerprints()
        self._connection: Connection | None = None
        self._turn = asyncio.Lock()
        self._granted = 0
        self._task = asyncio.get_running_loop().create_task(self._run())
        self._task.add_done_callback(leave)

    def __repr__(self) -> str:
        return f"Limiter({self._granted} calls granted)"

    async def acquire(
        self, provider: str, *, job: str, sweep: bool, calls: int = 1
    ) -> Permit | NotBefore:
        """
        Return leave for up to `calls` calls of one key, to be made within the second, counted and
        committed; or when to ask again.

        Raises:
            DatabaseUnavailable: If the ledger cannot be reached; nothing was granted.
        """
        found = await self._use(
            lambda ledger: ledger.acquire(provider, job=job, sweep=sweep, calls=calls)
        )
        if isinstance(found, Permit):
            self._granted += found.calls
        return found

    async def cooldown(
        self, provider: str, key: str, *, until: datetime | None, reason: str
    ) -> None:
        """
        Leave a key alone until a moment; None: until it is changed.

        Raises:
            DatabaseUnavailable: If the ledger cannot be reached.
        """
        await self._use(lambda ledger: ledger.cooldown(provider, key, until=until, reason=reason))

    async def status(self) -> dict[str, object]:
        """Return what it has done."""
        return {"pid": os.getpid(), "granted": self._granted}

    async def stop(self, drain_s: float) -> bool:
        """Close the connection."""
        self._task.cancel()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._drop(), drain_s)
        return True

    async def _use(self, ask: Callable[[Ledger], Awaitable[T]]) -> T:
        """
        Ask the ledger, one question at a time, again if the connection had died since the last.

        What the database did before a connection died counts: a grant nobody heard of is wasted.
        """
        async with self._turn:
            for attempt in range(TRIES):
                try:
                    with outages():
                        return await ask(await self._ledger())
                except DatabaseUnavailable:
                    await self._drop()
                    if attempt + 1 == TRIES:
                        raise
        raise AssertionError("the last try returns or raises")

    async def _ledger(self) -> Ledger:
        if self._connection is None or self._connection.closed:
            self._connection = await connect(self._settings.postgres_dsn(), name="limiter")
        return Ledger(self._connection, self._keys, speed=self._settings.jobs.speed)

    async def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(PRUNE_S)
            with contextlib.suppress(DatabaseUnavailable):
                await self._use(lambda ledger: ledger.prune())
