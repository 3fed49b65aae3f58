"""WebSockets that have not shown their token yet."""

import asyncio
import contextlib
from collections.abc import AsyncIterator


class Dropped(Exception):
    """The socket is closed without a farewell."""


class Lobby:
    """
    A bounded number of places; where all are taken, a newcomer takes the place of the oldest.

    A flood of sockets that show no token cannot keep out a client that does: its place lasts until
    the flood has opened `size` more sockets, and it shows its token within a round trip.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._places: dict[asyncio.Timeout, None] = {}  # in the order of arrival

    @contextlib.asynccontextmanager
    async def place(self, *, timeout_s: float) -> AsyncIterator[None]:
        """
        Hold a place for the length of a block.

        Raises:
            TimeoutError: In the block, after `timeout_s`.
            Dropped: In the block, when a newcomer takes the place.
        """
        place = asyncio.timeout(timeout_s)
        try:
            async with place:
                self._take(place)
                yield
        except TimeoutError:
            if place in self._places:
                raise
            raise Dropped from None
        finally:
            self._places.pop(place, None)

    def _take(self, place: asyncio.Timeout) -> None:
        if len(self._places) >= self._size:
            oldest = next(iter(self._places))
            del self._places[oldest]
            if not oldest.expired():
                oldest.reschedule(asyncio.get_running_loop().time())
        self._places[place] = None
