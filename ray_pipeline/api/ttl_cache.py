"""A value that many ask for and that is made at most once in a while."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from ray_pipeline.errors import PipelineError

T = TypeVar("T")


class Memo(Generic[T]):
    """
    Remembers for `ttl_s` what `make` returned or raised.

    However many pages are open, a store is asked once; an outage is not made worse by the queue of
    those who want to see it.
    """

    def __init__(self, make: Callable[[], Awaitable[T]], *, ttl_s: float) -> None:
        self._make = make
        self._ttl_s = ttl_s
        self._turn = asyncio.Lock()
        self._until_s = float("-inf")
        self._value: T | None = None
        self._error: PipelineError | None = None

    async def get(self) -> T:
        """
        Return the value.

        Raises:
            PipelineError: What `make` raised.
        """
        async with self._turn:
            if time.monotonic() >= self._until_s:
                await self._remake()
        if self._error is not None:
            raise self._error.with_traceback(None)
        return self._value  # type: ignore[return-value]  # T may itself be optional

    async def _remake(self) -> None:
        try:
            self._value, self._error = await self._make(), None
        except PipelineError as error:
            self._value, self._error = None, error
        self._until_s = time.monotonic() + self._ttl_s
