"""
Permits for calls: the limiter counts each call in every quota window before it is made.

A permit is valid only at once. Permits are therefore requested for the callers that wait at that
moment, never in advance: an unused permit would be a call lost from the day's quota.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Permit:
    """
    Permission to make calls.

    Attributes:
        key: Fingerprint of the key to use; empty for a provider without keys.
        calls: How many calls.
    """

    key: str
    calls: int = 1


@dataclass(frozen=True, slots=True)
class NotBefore:
    """
    The answer of a limiter that cannot permit a call now.

    Attributes:
        moment: When to request again, UTC; None if only a change of the keys helps.
        reason: The name of the full window, or why the keys are in cooldown.
    """

    moment: datetime | None
    reason: str


class Limiter(Protocol):
    """Counts calls against every quota before they are made. It answers at once."""

    async def acquire(
        self, provider: str, *, job: str, sweep: bool, calls: int = 1
    ) -> Permit | NotBefore:
        """
        Return a permit for up to `calls` calls of one key, counted and committed, or when to
        request again. The calls must be made within a second.
        """

    async def cooldown(
        self, provider: str, key: str, *, until: datetime | None, reason: str
    ) -> None:
        """Do not permit calls of a key until a moment; None: until the keys change."""


Acquire = Callable[[int], Awaitable[Permit | NotBefore]]


class PermitBatcher:
    """
    Combine the requests of callers that wait at the same time into one request to the limiter.

    The limiter commits a transaction for each request. Eight concurrent callers that each made
    their own request would queue for eight commits; combined, they wait for one.
    """

    def __init__(self, acquire: Acquire) -> None:
        """Use `acquire` to request permits for up to a number of calls."""
        self._acquire = acquire
        self._turn = asyncio.Lock()
        self._waiting = 0
        self._permits: deque[Permit] = deque()

    async def take(self) -> Permit | NotBefore:
        """Return a permit for one call, or when to request again."""
        self._waiting += 1
        try:
            # While one caller holds the lock and requests, others arrive and are counted. The next
            # holder of the lock requests for all of them, and each takes its permit in turn.
            async with self._turn:
                if not self._permits:
                    answer = await self._acquire(self._waiting)
                    if isinstance(answer, NotBefore):
                        return answer
                    self._permits.extend([Permit(answer.key)] * answer.calls)
                return self._permits.popleft()
        finally:
            self._waiting -= 1
