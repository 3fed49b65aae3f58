"""WebSockets that have not sent their token yet."""

import asyncio
import contextlib
from collections.abc import AsyncIterator


class Dropped(Exception):
    """The socket is dropped without a reason."""


class Lobby:
    """
    A bounded number of places; a new socket takes the place of the oldest if all are taken.

    Refusing new sockets instead would let a flood of sockets without a token lock out clients. Here
    a client keeps its place until `size` more sockets have arrived, and it needs one round trip to
    send its token.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._places: dict[asyncio.Timeout, None] = {}  # oldest first

    @contextlib.asynccontextmanager
    async def wait_in(self, *, timeout_s: float) -> AsyncIterator[None]:
        """
        Hold a place for the duration of a block.

        Raises:
            TimeoutError: In the block, after `timeout_s`.
            Dropped: In the block, when a new socket takes the place.
        """
        # A place is a timeout: to evict its holder, the timeout is rescheduled to now. Both cases
        # raise TimeoutError in the holder; an evicted one was removed from the places.
        timeout = asyncio.timeout(timeout_s)
        try:
            async with timeout:
                self._take(timeout)
                yield
        except TimeoutError:
            if timeout in self._places:
                raise
            raise Dropped from None
        finally:
            self._places.pop(timeout, None)

    def _take(self, timeout: asyncio.Timeout) -> None:
        if len(self._places) >= self._size:
            oldest = next(iter(self._places))
            del self._places[oldest]
            if not oldest.expired():
                oldest.reschedule(asyncio.get_running_loop().time())
        self._places[timeout] = None
