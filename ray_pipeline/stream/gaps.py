"""The periods without data, from their start to their end."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

LONGEST_CAUSE = 500  # in characters: a provider's error messages may differ without end


class Reporter(Protocol):
    """The receiver of finished gaps."""

    def __call__(
        self,
        kind: str,
        cause: str,
        *,
        symbols: list[str] | None,
        from_at: datetime | None,
        to_at: datetime,
    ) -> None:
        """Report one gap."""


@dataclass(slots=True)
class OpenGap:
    """A gap that continues."""

    kind: str
    cause: str
    from_at: datetime | None


@dataclass(slots=True)
class GapBook:
    """
    The open gaps: at most one of the whole feed and one per symbol.

    A second failure before data arrives belongs to the first gap and adds its cause.
    """

    report: Reporter
    feed: OpenGap | None = None
    symbols: dict[str, OpenGap] = field(default_factory=dict)

    def open(self, kind: str, cause: str, *, from_at: datetime | None) -> None:
        """Begin a gap of the whole feed."""
        if self.feed is None:
            self.feed = OpenGap(kind, cause, from_at)
        elif cause not in self.feed.cause:
            self.feed.cause = f"{self.feed.cause}; then {cause}"[:LONGEST_CAUSE]

    def note(self, remark: str) -> None:
        """Add a remark to the cause of the feed's open gap, if there is one, once."""
        if self.feed is not None and remark not in self.feed.cause:
            self.feed.cause = f"{self.feed.cause}; {remark}"[:LONGEST_CAUSE]

    def open_symbol(self, symbol: str, kind: str, cause: str, *, from_at: datetime | None) -> None:
        """Begin a gap of one symbol; an open gap of the symbol continues."""
        self.symbols.setdefault(symbol, OpenGap(kind, cause, from_at))

    def close(self, *, to_at: datetime) -> None:
        """End the feed's gap: data arrives again."""
        gap, self.feed = self.feed, None
        if gap is not None:
            self.report(gap.kind, gap.cause, symbols=None, from_at=gap.from_at, to_at=to_at)

    def close_symbol(self, symbol: str, *, to_at: datetime) -> None:
        """End a symbol's gap: it has data again, or was removed."""
        gap = self.symbols.pop(symbol, None)
        if gap is not None:
            self.report(gap.kind, gap.cause, symbols=[symbol], from_at=gap.from_at, to_at=to_at)

    def close_all(self, *, to_at: datetime) -> None:
        """End every gap. The next producer reports the time from now on."""
        for symbol in list(self.symbols):
            self.close_symbol(symbol, to_at=to_at)
        self.close(to_at=to_at)

    def since(self) -> datetime | None:
        """Return the start of the feed's open gap; None if none is open or its start is unknown."""
        return self.feed.from_at if self.feed else None
