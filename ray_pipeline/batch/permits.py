"""Leave for calls: asked at once for all who wait, and used at once by them."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Permit:
    """
    Leave to make calls.

    Attributes:
        key: Fingerprint of the key to use; empty where the provider needs none.
        calls: How many.
    """

    key: str
    calls: int = 1


@dataclass(frozen=True, slots=True)
class NotBefore:
    """
    No leave yet.

    Attributes:
        moment: When to ask again, UTC; None when only a person can change it.
        reason: What stands in the way: the name of a window, or why the keys rest.
    """

    moment: datetime | None
    reason: str


class Limiter(Protocol):
    """Counts calls against every quota before they are made. It answers at once."""

    async def acquire(
        self, provider: str, *, job: str, sweep: bool, calls: int = 1
    ) -> Permit | NotBefore:
        """Return leave for up to `calls` calls of one key, counted and committed; or when to ask
        again. They are to be made within the second."""

    async def cooldown(
        self, provider: str, key: str, *, until: datetime | None, reason: str
    ) -> None:
        """Leave a key alone until a moment; None: until it is changed."""


Ask = Callable[[int], Awaitable[Permit | NotBefore]]


class PermitBatcher:
    """
    Shares one question to the limiter between callers that wait in the same moment.

    As many calls are asked for as callers wait, so that none is counted and then not made.
    """

    def __init__(self, ask: Ask) -> None:
        """Take who asks for up to so many calls."""
        self._ask = ask
        self._turn = asyncio.Lock()
        self._waiting = 0
        self._granted: deque[Permit] = deque()

    async def take(self) -> Permit | NotBefore:
        """Return leave for one call, or when to ask again."""
        self._waiting += 1
        try:
            async with self._turn:
                if not self._granted:
                    found = await self._ask(self._waiting)
                    if isinstance(found, NotBefore):
                        return found
                    self._granted.extend([Permit(found.key)] * found.calls)
                return self._granted.popleft()
        finally:
            self._waiting -= 1
