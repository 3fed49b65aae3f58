"""The messages that wait for one WebSocket client: at most one value a symbol."""

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Mapping

from ray_pipeline.api.answers import encode

CONTROL_LIMIT = 100  # waiting replies; far more than a client that reads ever has

Values = Mapping[str, str]  # JSON by symbol


class QueueFull(Exception):
    """The client sends messages but does not read the replies."""


def frame(feed: str, values: Values) -> str:
    """Return the message with these values."""
    return f'{{"type":"values","feed":"{feed}","values":[{",".join(values.values())}]}}'


class ClientQueue:
    """
    Decouples the hub, which never waits, from a client, which may be slow.

    The queue holds one value a symbol, and a later value replaces an earlier one. A slow client
    skips values, and its memory is bounded by the number of its symbols.
    """

    def __init__(self, feed: str) -> None:
        self._feed = feed
        self._values: Values = {}
        self._frame: str | None = None
        self._control: deque[str] = deque()
        self._filled = asyncio.Event()

    def offer(self, values: Values, text: str) -> None:
        """
        Add values; `text` is the message with exactly these values.

        Clients with the same subscriptions share that text, so that it is encoded once. The queue
        can use it only if nothing else waits.
        """
        if self._values:
            # A new dict: the waiting one is shared with other clients of the same subscriptions.
            self._values = {**self._values, **values}
            self._frame = None
        else:
            self._values, self._frame = values, text
        self._filled.set()

    def say(self, message: Mapping[str, object]) -> None:
        """
        Add a reply, which is sent before any value.

        Raises:
            QueueFull: If too many replies wait.
        """
        if len(self._control) >= CONTROL_LIMIT:
            raise QueueFull
        self._control.append(encode(message).decode())
        self._filled.set()

    def forget(self, symbols: set[str]) -> None:
        """Drop the values of symbols that the client unsubscribed."""
        if self._values.keys() & symbols:
            self._values = {s: v for s, v in self._values.items() if s not in symbols}
            self._frame = None

    @property
    def has_control(self) -> bool:
        """Whether a reply waits."""
        return bool(self._control)

    async def something(self, *, values_at_s: float) -> None:
        """Wait for a reply, or for values but not before `values_at_s` of the monotonic clock."""
        while not self._control:
            self._filled.clear()
            early_s = values_at_s - time.monotonic()
            if not self._values:
                await self._filled.wait()
            elif early_s > 0:
                # A reply may arrive during this wait: it must not wait for the values.
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._filled.wait(), early_s)
            else:
                return

    def control(self) -> str:
        """Remove and return the next reply."""
        return self._control.popleft()

    def values(self) -> str:
        """Remove all values and return the message with them."""
        text = self._frame or frame(self._feed, self._values)
        self._values, self._frame = {}, None
        return text
