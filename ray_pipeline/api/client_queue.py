"""What one WebSocket client still has to hear: one value a symbol, however slow it is."""

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Mapping

from ray_pipeline.api.answers import encode

CONTROL_LIMIT = 100  # replies that a client did not take; more is a client that does not read

Values = Mapping[str, str]  # JSON by symbol


class Full(Exception):
    """The client sends but does not read."""


def frame(feed: str, values: Values) -> str:
    """Return the message of some values."""
    return f'{{"type":"values","feed":"{feed}","values":[{",".join(values.values())}]}}'


class Outbox:
    """
    Between the hub, which never waits, and a client, which may.

    Values wait in one place a symbol: of two the later replaces the earlier, so that a client that
    is slow skips values and costs no memory.
    """

    def __init__(self, feed: str) -> None:
        self._feed = feed
        self._values: Values = {}
        self._frame: str | None = None
        self._control: deque[str] = deque()
        self._filled = asyncio.Event()

    def offer(self, values: Values, text: str) -> None:
        """Take values in; `text` is their message, which all clients of like interest share."""
        if self._values:
            self._values = {**self._values, **values}
            self._frame = None
        else:
            self._values, self._frame = values, text
        self._filled.set()

    def say(self, message: Mapping[str, object]) -> None:
        """
        Take in a reply, which is sent before any value.

        Raises:
            Full: If the client does not take them.
        """
        if len(self._control) >= CONTROL_LIMIT:
            raise Full
        self._control.append(encode(message).decode())
        self._filled.set()

    def forget(self, symbols: set[str]) -> None:
        """Drop the values of symbols that are no longer wanted."""
        if self._values.keys() & symbols:
            self._values = {s: v for s, v in self._values.items() if s not in symbols}
            self._frame = None

    @property
    def has_control(self) -> bool:
        """Whether a reply waits."""
        return bool(self._control)

    async def something(self, *, values_at_s: float) -> None:
        """Wait for a reply, or for values, but for these until `values_at_s` at least."""
        while not self._control:
            self._filled.clear()
            early_s = values_at_s - time.monotonic()
            if not self._values:
                await self._filled.wait()
            elif early_s > 0:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._filled.wait(), early_s)
            else:
                return

    def control(self) -> str:
        """Return the next reply."""
        return self._control.popleft()

    def values(self) -> str:
        """Return the message of everything that waits, and have nothing waiting."""
        text = self._frame or frame(self._feed, self._values)
        self._values, self._frame = {}, None
        return text
