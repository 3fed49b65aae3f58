"""One value that many requests share and that is computed at most once in a period."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from ray_pipeline.errors import PipelineError

T = TypeVar("T")


class TtlCache(Generic[T]):
    """
    Caches the result of `make`, or the PipelineError that it raised, for `ttl_s` seconds.

    The load on the stores does not depend on the number of clients. The error is cached too:
    otherwise each client would wait for its own timeout while a store is down.
    """

    def __init__(self, make: Callable[[], Awaitable[T]], *, ttl_s: float) -> None:
        self._make = make
        self._ttl_s = ttl_s
        self._lock = asyncio.Lock()
        self._expires_at_s = float("-inf")
        self._value: T | None = None
        self._error: PipelineError | None = None

    async def get(self) -> T:
        """
        Return the cached value, or compute it.

        Raises:
            PipelineError: The error of `make`.
        """
        # Requests that arrive during a computation wait here and then share its result.
        async with self._lock:
            if time.monotonic() >= self._expires_at_s:
                await self._refresh()
        if self._error is not None:
            # Without the old traceback: it would grow by each request that raises the error.
            raise self._error.with_traceback(None)
        return self._value  # type: ignore[return-value]  # T may itself be optional

    async def _refresh(self) -> None:
        try:
            self._value, self._error = await self._make(), None
        except PipelineError as error:
            self._value, self._error = None, error
        # From the end of the computation: a slow store is not read again at once.
        self._expires_at_s = time.monotonic() + self._ttl_s
