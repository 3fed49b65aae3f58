"""Permits for a producer's REST calls, from the ledger that it shares with every job."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta

from ray_pipeline.batch.permits import Limiter, NotBefore, Permit, call_of, timed
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
        async with call_of(permit, self._finished):
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
            wait_s = _wait_s(answer)
            if loop.time() + wait_s > give_up_s:
                raise FeedRefused(
                    f"no permit for a REST call: {answer.reason}", retry_after_s=wait_s
                )
            await asyncio.sleep(wait_s)

    async def _finished(self, permit: Permit) -> None:
        # An answer that is not recorded makes the next permit later, but no call is lost.
        if permit.ids:
            with suppress(DatabaseUnavailable):
                await self._limiter.finished(permit.ids)

    async def cool_down(self, wait_s: float, reason: str) -> None:
        """Permit no caller of the provider a call for a while; see `take` for the errors."""
        until = datetime.now(UTC) + timedelta(seconds=wait_s)
        try:
            await self._limiter.cooldown(self._provider, self._key, until=until, reason=reason)
        except DatabaseUnavailable as error:
            raise FeedUnavailable(f"the refusal was not noted: {error}") from error


def _wait_s(answer: NotBefore) -> float:
    if answer.moment is None:
        return LONGEST_WAIT_S
    wait_s = answer.wait_s
    if wait_s is None:
        wait_s = (answer.moment - datetime.now(UTC)).total_seconds()
    # A moment that has just passed must not become a busy loop.
    return max(wait_s, 0.01)
