"""Leave for calls: asked at once for all who wait, and used at once by them."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable

from ray_pipeline.ports import Grant, NotBefore

Ask = Callable[[int], Awaitable[Grant | NotBefore]]


class Leaves:
    """
    Shares one question to the limiter between callers that wait in the same moment.

    As many calls are asked for as callers wait, so that none is counted and then not made.
    """

    def __init__(self, ask: Ask) -> None:
        """Take who asks for up to so many calls."""
        self._ask = ask
        self._turn = asyncio.Lock()
        self._waiting = 0
        self._granted: deque[Grant] = deque()

    async def take(self) -> Grant | NotBefore:
        """Return leave for one call, or when to ask again."""
        self._waiting += 1
        try:
            async with self._turn:
                if not self._granted:
                    found = await self._ask(self._waiting)
                    if isinstance(found, NotBefore):
                        return found
                    self._granted.extend([Grant(found.key)] * found.calls)
                return self._granted.popleft()
        finally:
            self._waiting -= 1
