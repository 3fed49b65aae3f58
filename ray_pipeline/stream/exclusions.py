"""The symbols that a venue's REST API refuses, each for a bounded time. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from ray_pipeline.retry import doubled_s

FIRST_S = 600.0
LONGEST_S = 21_600.0  # a market that is listed meanwhile returns within six hours
SHOWN_SYMBOLS = 3
SHOWN_CHARACTERS = 60  # of a reason


@dataclass(frozen=True, slots=True)
class Exclusion:
    """A refused symbol: the venue's reason, until when it is omitted, how often it was refused."""

    reason: str
    until: datetime
    refusals: int


class Exclusions:
    """The excluded symbols of one venue."""

    def __init__(self) -> None:
        self._symbols: dict[str, Exclusion] = {}

    def __len__(self) -> int:
        return len(self._symbols)

    def regular(self, symbols: Iterable[str]) -> list[str]:
        """Return the symbols that were never refused, or were accepted since."""
        return [symbol for symbol in symbols if symbol not in self._symbols]

    def due(self, symbols: Iterable[str], *, now: datetime) -> list[str]:
        """Return the excluded symbols to be tried again."""
        return [
            symbol
            for symbol in symbols
            if symbol in self._symbols and self._symbols[symbol].until <= now
        ]

    def exclude(self, symbol: str, reason: str, *, now: datetime) -> Exclusion:
        """Omit a symbol; each further refusal doubles the time."""
        previous = self._symbols.get(symbol)
        refusals = previous.refusals + 1 if previous else 1
        pause_s = min(doubled_s(FIRST_S, refusals - 1), LONGEST_S)
        exclusion = Exclusion(reason, now + timedelta(seconds=pause_s), refusals)
        self._symbols[symbol] = exclusion
        return exclusion

    def readmit(self, symbols: Iterable[str]) -> None:
        """Forget the refusals of symbols: the venue accepted them."""
        for symbol in symbols:
            self._symbols.pop(symbol, None)

    def describe(self) -> str:
        """Return the excluded symbols, why, and until when; empty without any."""
        if not self._symbols:
            return ""
        texts = [
            f"{symbol} until {exclusion.until:%H:%M:%S} UTC ({exclusion.reason[:SHOWN_CHARACTERS]})"
            for symbol, exclusion in sorted(self._symbols.items())[:SHOWN_SYMBOLS]
        ]
        more = len(self._symbols) - len(texts)
        return "the REST API refuses " + ", ".join(texts) + (f" and {more} more" if more else "")
