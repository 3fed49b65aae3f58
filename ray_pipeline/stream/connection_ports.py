"""The ports of a connection to a venue: the socket, the pacer, the clock, and its pauses."""

import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol


class Socket(Protocol):
    """One connection to a provider."""

    async def send(self, text: str) -> None:
        """Send a text frame; FeedUnavailable when the connection is gone."""

    async def receive(self) -> bytes:
        """Return the next frame; FeedUnavailable when the connection is gone."""

    async def ping(self) -> None:
        """Send a ping and wait for its answer; FeedUnavailable when the connection is gone."""


Connect = Callable[[], AbstractAsyncContextManager[Socket]]
"""Open a connection and close it at the end. Raise FeedRefused or FeedUnavailable on failure."""


class ConnectionPacer(Protocol):
    """Spaces the connections of the whole cluster."""

    async def turn(self) -> None:
        """Wait for the next free moment."""


@dataclass(frozen=True, slots=True)
class Pauses:
    """
    How slowly to subscribe, and when silence is a stall.

    Attributes:
        subscribe_s: Pause after each subscription.
        rest_s: Pause after every twentieth subscription, instead of `subscribe_s`.
        liveness_s: Shortest silence that counts as a stall.
    """

    subscribe_s: float
    rest_s: float
    liveness_s: float


@dataclass(frozen=True, slots=True)
class Clock:
    """A wall clock for events and a monotonic clock for durations."""

    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    monotonic_s: Callable[[], float] = time.monotonic
