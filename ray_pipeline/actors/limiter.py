"""The limiter as an actor: every job of a cluster requests its permits here."""

import asyncio
import contextlib
import os
from collections.abc import Sequence
from datetime import datetime

from ray_pipeline.actors.producer import exit_on_failure
from ray_pipeline.batch.permits import NotBefore, Pause, Permit
from ray_pipeline.errors import DatabaseUnavailable
from ray_pipeline.settings import Settings
from ray_pipeline.storage.postgres.shared_ledger import SharedLedger

NAME = "limiter"
PRUNE_S = 3600.0


class LimiterActor:
    """Gives the ledger a mailbox. The counts are in Postgres, so a restart loses none."""

    def __init__(self, settings: Settings) -> None:
        self._ledger = SharedLedger(
            settings.postgres_dsn(), settings.key_fingerprints(), speed=settings.jobs.speed
        )
        self._granted = 0
        self._task = asyncio.get_running_loop().create_task(self._run())
        self._task.add_done_callback(exit_on_failure)

    def __repr__(self) -> str:
        return f"Limiter({self._granted} calls granted)"

    async def acquire(
        self, provider: str, *, job: str, sweep: bool, calls: int = 1, key: str | None = None
    ) -> Permit | NotBefore:
        """
        Return a permit for up to `calls` calls of one key, counted and committed, or when to
        request again; see `Limiter.acquire`.

        Raises:
            DatabaseUnavailable: If the ledger cannot be reached; no call is permitted.
        """
        answer = await self._ledger.acquire(provider, job=job, sweep=sweep, calls=calls, key=key)
        if isinstance(answer, Permit):
            self._granted += answer.calls
        return answer

    async def finished(self, ids: Sequence[int]) -> None:
        """
        Record that these calls have been answered; see `Limiter.finished`.

        Raises:
            DatabaseUnavailable: If the ledger cannot be reached.
        """
        await self._ledger.finished(ids)

    async def cooldown(
        self, provider: str, key: str, *, pause: Pause, reason: str
    ) -> datetime | None:
        """
        Do not permit calls of a key during a pause; see `Limiter.cooldown`.

        Raises:
            DatabaseUnavailable: If the ledger cannot be reached.
        """
        return await self._ledger.cooldown(provider, key, pause=pause, reason=reason)

    async def status(self) -> dict[str, object]:
        """Return the process and the number of permitted calls."""
        return {"pid": os.getpid(), "granted": self._granted}

    async def stop(self, drain_s: float) -> bool:
        """Close the connection."""
        self._task.cancel()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._ledger.close(), drain_s)
        return True

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(PRUNE_S)
            with contextlib.suppress(DatabaseUnavailable):
                await self._ledger.prune()
