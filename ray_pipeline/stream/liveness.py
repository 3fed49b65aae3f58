"""
Detect a feed that delivers no data. The data decides, not the socket, and only in an open market.

Durations come from a monotonic clock. Only the hours of the market need the wall clock.
"""

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass

SMOOTHING = 0.1  # weight of the newest interval in the average
TOLERANCE = 20.0  # times the average interval, because trades arrive in clusters
PATIENCE_DOUBLINGS = 6  # then an ineffective remedy is repeated every 64 times the patience
INFINITE_S = float("inf")


@dataclass(frozen=True, slots=True)
class MarketHours:
    """
    The hours of a market.

    Attributes:
        sessions: Opening and closing, Unix seconds, sorted. None: the market never closes.
    """

    sessions: tuple[tuple[float, float], ...] | None = None

    def open_for_s(self, now_s: float) -> float | None:
        """Return the seconds since the opening; None if closed, infinity if it never closes."""
        if self.sessions is None:
            return INFINITE_S
        index = bisect_right(self.sessions, (now_s, INFINITE_S)) - 1
        if index < 0:
            return None
        opened_at_s, closed_at_s = self.sessions[index]
        return now_s - opened_at_s if now_s < closed_at_s else None


ALWAYS_OPEN = MarketHours()


class Pulse:
    """The last data of a symbol or a feed, and its average interval."""

    __slots__ = ("has_had_data", "last_s", "remedies", "since_s", "usual_s")

    def __init__(self, since_s: float) -> None:
        self.since_s = since_s
        self.last_s: float | None = None
        self.usual_s: float | None = None
        self.has_had_data = False
        self.remedies = 0  # since the last data

    def heard(self, now_s: float) -> None:
        """Note data, and update the average interval."""
        if self.last_s is not None:
            interval_s = now_s - self.last_s
            usual_s = self.usual_s
            self.usual_s = (
                interval_s if usual_s is None else usual_s + SMOOTHING * (interval_s - usual_s)
            )
        self.last_s = self.since_s = now_s
        self.has_had_data = True
        self.remedies = 0

    def silent_s(self, now_s: float, *, open_for_s: float) -> float:
        """Return how long no data arrived while data was possible."""
        # Before the opening there was none to expect, so the silence starts there at the earliest.
        return min(now_s - self.since_s, open_for_s)

    def patience_s(self, liveness_s: float) -> float:
        """Return the longest silence that is still usual."""
        # A remedy that had no effect doubles the patience: the symbol may be delisted, and each
        # remedy costs a request, or a reconnect that interrupts all other symbols.
        usual_s = max(liveness_s, TOLERANCE * (self.usual_s or 0.0))
        return usual_s * (1 << min(self.remedies, PATIENCE_DOUBLINGS))

    def treated(self, now_s: float) -> None:
        """Note a remedy for the silence; the silence is measured from now on."""
        self.remedies += 1
        self.since_s = now_s

    def pause(self) -> None:
        """Forget the time of the last data, so that an interruption does not count as interval."""
        self.last_s = None


@dataclass(frozen=True, slots=True)
class Stall:
    """
    A symbol with an unusually long silence.

    Attributes:
        symbol: The symbol.
        silent_s: Length of the silence.
        has_had_data: Whether it ever had data. A symbol without data may not exist.
        repeated: Whether an earlier remedy had no effect.
    """

    symbol: str
    silent_s: float
    has_had_data: bool
    repeated: bool


class Liveness:
    """Measures the silence of each symbol and of the whole feed."""

    def __init__(self, *, liveness_s: float, hours: MarketHours) -> None:
        self._liveness_s = liveness_s
        self._hours = hours
        self._symbols: dict[str, Pulse] = {}
        self._feed: Pulse | None = None
        self._was_open = False

    def is_open(self, wall_s: float) -> bool:
        """Return whether the market is open at this Unix time."""
        return self._hours.open_for_s(wall_s) is not None

    def watch(self, symbols: Iterable[str], *, now_s: float) -> None:
        """Replace the symbols. Symbols that remain keep their average interval."""
        old = self._symbols
        self._symbols = {symbol: old.get(symbol) or Pulse(now_s) for symbol in symbols}

    def asked(self, symbol: str, *, now_s: float) -> None:
        """Measure the silence of a symbol from now on: it was just requested."""
        pulse = self._symbols.get(symbol)
        if pulse is not None:
            pulse.since_s = now_s

    def connected(self, *, now_s: float) -> None:
        """Measure every silence from now on: the connection is new."""
        for pulse in self._symbols.values():
            pulse.since_s = now_s
        if self._feed is None:
            self._feed = Pulse(now_s)
        self._feed.since_s = now_s

    def resumed(self, *, now_s: float) -> None:
        """Measure every silence from now on: the suspension of the process is no interval."""
        self._forget_last_data()
        self.connected(now_s=now_s)

    def heard(self, symbols: Iterable[str], *, now_s: float) -> None:
        """Note data of symbols."""
        if self._feed is not None:
            self._feed.heard(now_s)
        watched = self._symbols
        for symbol in symbols:
            pulse = watched.get(symbol)
            if pulse is not None:
                pulse.heard(now_s)

    def feed_silence_s(self, *, now_s: float, wall_s: float) -> float | None:
        """Return the silence of the feed if it is too long, and note it as treated; else None."""
        open_for_s = self._open_for_s(wall_s)
        if open_for_s is None or self._feed is None or not self._symbols:
            return None
        silent_s = self._feed.silent_s(now_s, open_for_s=open_for_s)
        return silent_s if self._overdue(self._feed, now_s, open_for_s) else None

    def stalls(self, *, now_s: float, wall_s: float) -> list[Stall]:
        """Return the symbols with too long a silence, and note them as treated."""
        open_for_s = self._open_for_s(wall_s)
        if open_for_s is None:
            return []
        stalls = []
        for symbol, pulse in self._symbols.items():
            repeated = pulse.remedies > 0
            silent_s = pulse.silent_s(now_s, open_for_s=open_for_s)
            if self._overdue(pulse, now_s, open_for_s):
                stalls.append(Stall(symbol, silent_s, pulse.has_had_data, repeated))
        return stalls

    def _overdue(self, pulse: Pulse, now_s: float, open_for_s: float) -> bool:
        if pulse.silent_s(now_s, open_for_s=open_for_s) < pulse.patience_s(self._liveness_s):
            return False
        pulse.treated(now_s)
        return True

    def _open_for_s(self, wall_s: float) -> float | None:
        """Return how long the market is open. A closed market must not count as an interval."""
        open_for_s = self._hours.open_for_s(wall_s)
        if open_for_s is None and self._was_open:
            self._forget_last_data()
        self._was_open = open_for_s is not None
        return open_for_s

    def _forget_last_data(self) -> None:
        for pulse in (self._feed, *self._symbols.values()):
            if pulse is not None:
                pulse.pause()
