"""Price bars: open, high, low, close, volume, of one second, one minute, five minutes, one hour."""

from collections.abc import Iterable, Iterator, Mapping
from decimal import Context, Decimal

# Sums must be exact: Decimal's default of 28 digits is too few for prices with 26.
EXACT = Context(prec=200)
INTERVALS = {"1s": 1, "1m": 60, "5m": 300, "1h": 3600}  # seconds, by name
INTERVALS_S = tuple(INTERVALS.values())


class Bar:
    """One bar. Open and close are by event time; between equal times, by arrival."""

    __slots__ = ("close", "close_ms", "high", "low", "open", "open_ms", "trades", "volume")

    def __init__(self, price: Decimal, volume: Decimal, event_ms: int) -> None:
        self.open = self.high = self.low = self.close = price
        self.volume = volume
        self.trades = 1
        self.open_ms = self.close_ms = event_ms

    def add(self, price: Decimal, volume: Decimal, event_ms: int) -> None:
        """Add a trade."""
        if price > self.high:
            self.high = price
        elif price < self.low:
            self.low = price
        if event_ms >= self.close_ms:
            self.close, self.close_ms = price, event_ms
        elif event_ms < self.open_ms:
            self.open, self.open_ms = price, event_ms
        self.volume = EXACT.add(self.volume, volume)
        self.trades += 1

    def merge(self, later: "Bar") -> None:
        """Add another bar, with trades that arrived after those of this one."""
        self.high = max(self.high, later.high)
        self.low = min(self.low, later.low)
        if later.close_ms >= self.close_ms:
            self.close, self.close_ms = later.close, later.close_ms
        if later.open_ms < self.open_ms:
            self.open, self.open_ms = later.open, later.open_ms
        self.volume = EXACT.add(self.volume, later.volume)
        self.trades += later.trades

    def copy(self) -> "Bar":
        """Return an independent, equal bar."""
        copy = Bar(self.open, self.volume, self.open_ms)
        copy.high, copy.low, copy.close = self.high, self.low, self.close
        copy.close_ms, copy.trades = self.close_ms, self.trades
        return copy


BarKey = tuple[str, int]  # symbol, start in seconds since the epoch


def roll_up(seconds: Mapping[BarKey, Bar]) -> Iterator[tuple[int, Mapping[BarKey, Bar]]]:
    """Yield each interval with its bars, from the bars of one second."""
    finer = seconds
    yield 1, seconds
    for interval_s in INTERVALS_S[1:]:
        finer = _coarser(finer.items(), interval_s)
        yield interval_s, finer


def _coarser(bars: Iterable[tuple[BarKey, Bar]], interval_s: int) -> dict[BarKey, Bar]:
    coarse: dict[BarKey, Bar] = {}
    for (symbol, start_s), bar in bars:
        key = (symbol, start_s - start_s % interval_s)
        merged = coarse.get(key)
        if merged is None:
            coarse[key] = bar.copy()
        else:
            merged.merge(bar)
    return coarse
