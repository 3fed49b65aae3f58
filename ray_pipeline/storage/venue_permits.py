"""Permits for a producer's REST calls, from the ledger that it shares with every job."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from functools import partial

from ray_pipeline.batch.permits import Limiter, Permit, call_of, report, timed
from ray_pipeline.errors import DatabaseUnavailable, FeedRefused, FeedUnavailable

LONGEST_WAIT_S = 30.0  # then the caller gives up for now, and shows the reason


class VenuePermits:
    """Waits for permits of one provider."""

    def __init__(self, limiter: Limiter, provider: str, *, caller: str) -> None:
        """Request permits of a provider; `caller` names the requests in the ledger."""
        self._limiter = limiter
        self._provider = provider
        self._caller = caller
        self._key = ""

    @asynccontextmanager
    async def next_call(self) -> AsyncIterator[None]:
        """
        Wait until one call is permitted, and make it inside the block. See `NextCall`.

        Raises:
            FeedRefused: If no call is permitted soon.
            FeedUnavailable: If the ledger cannot be reached: without a count, no call is made.
        """
        permit = await self._permit()
        self._key = permit.key
        async with call_of(permit, partial(report, self._limiter)):
            yield

    async def _permit(self) -> Permit:
        loop = asyncio.get_running_loop()
        give_up_s = loop.time() + LONGEST_WAIT_S
        while True:
            try:
                answer = await timed(
                    self._limiter.acquire(self._provider, job=self._caller, sweep=False)
                )
            except DatabaseUnavailable as error:
                raise FeedUnavailable(f"no permit for a REST call: {error}") from error
            if isinstance(answer, Permit):
                return answer
            wait_s = LONGEST_WAIT_S
            if answer.moment is not None:
                # A moment that has just passed must not become a busy loop.
                wait_s = max(answer.wait_from(datetime.now(UTC)), 0.01)
            if loop.time() + wait_s > give_up_s:
                raise FeedRefused(
                    f"no permit for a REST call: {answer.reason}", retry_after_s=wait_s
                )
            await asyncio.sleep(wait_s)

    async def cool_down(self, wait_s: float, reason: str) -> None:
        """Permit no caller of the provider a call for a while; see `next_call` for the errors."""
        pause = timedelta(seconds=wait_s)
        try:
            await self._limiter.cooldown(self._provider, self._key, pause=pause, reason=reason)
        except DatabaseUnavailable as error:
            raise FeedUnavailable(f"the refusal was not noted: {error}") from error
