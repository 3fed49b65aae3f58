"""
Values that wait for Redis: the newest of each symbol and second.

The buffer is bounded by coalescing, not by dropping: while Redis is away it holds the newest value
of each symbol and second. Past its limit it is emptied, and Redis is rebuilt from Postgres instead.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import msgspec

BUFFER_LIMIT = 100_000


class LatestValue(msgspec.Struct, frozen=True, gc=False):
    """
    A symbol's newest value within one second of event time.

    A struct: making a frozen dataclass takes ten times as long.
    """

    symbol: str
    event_ms: int
    value: str  # JSON


@dataclass(frozen=True, slots=True)
class CacheUsage:
    """
    The memory that the values of single seconds use, and how far back they reach.

    Attributes:
        feed_bytes: Memory of one feed.
        total_bytes: Memory of all feeds.
        budget_bytes: Limit of `total_bytes`.
        retention_s: Values older than this are deleted.
        shortened: Why that is less than the configured time to live; empty if it is not.
    """

    feed_bytes: int
    total_bytes: int
    budget_bytes: int
    retention_s: float
    shortened: str = ""


class LatestBuffer:
    """Values waiting for Redis; `overflowed` is set when the limit emptied it."""

    def __init__(self, *, limit: int = BUFFER_LIMIT) -> None:
        self._limit = limit
        self._values: dict[tuple[str, int], LatestValue] = {}
        self.overflowed = False

    def __len__(self) -> int:
        return len(self._values)

    def add(self, values: Iterable[LatestValue]) -> None:
        """Add values; of two for a symbol and second the newer stays, of equals the later one."""
        buffered = self._values
        for value in values:
            key = (value.symbol, value.event_ms // 1000)
            previous = buffered.get(key)
            if previous is None or value.event_ms >= previous.event_ms:
                buffered[key] = value
        if len(buffered) > self._limit:
            self.overflowed = True
            buffered.clear()

    def put_back(self, values: Sequence[LatestValue]) -> None:
        """Add values again that could not be written; values that were added since are newer."""
        newer = list(self._values.values())
        self._values = {}
        self.add(values)
        self.add(newer)

    def cut(self) -> list[LatestValue]:
        """Empty the buffer; return its values sorted by symbol and time."""
        values, self._values = self._values, {}
        return [values[key] for key in sorted(values)]
