"""
What Redis still has to hear: the newest value of each symbol and second, one entry each.

The buffer is bounded by coalescing, not by dropping: while Redis is away it holds the newest value
of each (symbol, second), and past `limit` it asks for a rebuild from Postgres instead.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

BUFFER_LIMIT = 100_000


@dataclass(frozen=True, slots=True)
class Entry:
    """A symbol's newest value within one second of event time."""

    symbol: str
    event_ms: int
    value: str  # JSON


class LatestBuffer:
    """Entries waiting for Redis."""

    def __init__(self, *, limit: int = BUFFER_LIMIT) -> None:
        self._limit = limit
        self._entries: dict[tuple[str, int], Entry] = {}
        self.overflowed = False

    def __len__(self) -> int:
        return len(self._entries)

    def add(self, entries: Iterable[Entry]) -> None:
        """Take entries in; of two for a symbol and second the newer stays, of equals the later."""
        mine = self._entries
        for entry in entries:
            key = (entry.symbol, entry.event_ms // 1000)
            there = mine.get(key)
            if there is None or entry.event_ms >= there.event_ms:
                mine[key] = entry
        if len(mine) > self._limit:
            self.overflowed = True
            mine.clear()

    def put_back(self, entries: Sequence[Entry]) -> None:
        """Take back what could not be written; what has come since is newer."""
        newer = list(self._entries.values())
        self._entries = {}
        self.add(entries)
        self.add(newer)

    def cut(self) -> list[Entry]:
        """Return what waits, by symbol and time, and be empty."""
        entries, self._entries = self._entries, {}
        return [entries[key] for key in sorted(entries)]


def behind(newest_ms: Mapping[str, int], held_ms: Mapping[str, int]) -> list[str]:
    """Return the symbols of which Redis holds something older than Postgres, or nothing."""
    return sorted(
        symbol for symbol, event_ms in newest_ms.items() if held_ms.get(symbol, -1) < event_ms
    )
