"""Permits for a producer's REST calls, from the ledger that it shares with every job."""

import asyncio
from datetime import UTC, datetime, timedelta

from ray_pipeline.batch.permits import Limiter, NotBefore
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

    async def take(self) -> None:
        """
        Wait until one call is permitted. It must be made within a second.

        Raises:
            FeedRefused: If no call is permitted soon.
            FeedUnavailable: If the ledger cannot be reached: without a count, no call is made.
        """
        loop = asyncio.get_running_loop()
        give_up_s = loop.time() + LONGEST_WAIT_S
        while True:
            try:
                answer = await self._limiter.acquire(self._provider, job=self._caller, sweep=False)
            except DatabaseUnavailable as error:
                raise FeedUnavailable(f"no permit for a REST call: {error}") from error
            if not isinstance(answer, NotBefore):
                self._key = answer.key
                return
            wait_s = _seconds_until(answer.moment)
            if loop.time() + wait_s > give_up_s:
                raise FeedRefused(
                    f"no permit for a REST call: {answer.reason}", retry_after_s=wait_s
                )
            await asyncio.sleep(wait_s)

    async def cool_down(self, wait_s: float, reason: str) -> None:
        """Permit no caller of the provider a call for a while; see `take` for the errors."""
        until = datetime.now(UTC) + timedelta(seconds=wait_s)
        try:
            await self._limiter.cooldown(self._provider, self._key, until=until, reason=reason)
        except DatabaseUnavailable as error:
            raise FeedUnavailable(f"the refusal was not noted: {error}") from error


def _seconds_until(moment: datetime | None) -> float:
    if moment is None:
        return LONGEST_WAIT_S
    # A moment that has just passed must not become a busy loop.
    return max((moment - datetime.now(UTC)).total_seconds(), 0.01)
