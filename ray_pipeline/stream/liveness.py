"""
Is a feed alive? Judged by its data, not by its socket, and only while its market is open.

Durations are measured on a monotonic clock; only the market's hours need the wall clock.
"""

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass

SMOOTHING = 0.1
TOLERANCE = 20.0  # times the usual interval; trades come in clusters
PATIENCE_DOUBLINGS = 6  # a remedy that does not help is tried ever more rarely, but never given up
INFINITE_S = float("inf")


@dataclass(frozen=True, slots=True)
class MarketHours:
    """
    When a market is open.

    Attributes:
        sessions: Opening and closing, Unix seconds, sorted; None for a market that never closes.
    """

    sessions: tuple[tuple[float, float], ...] | None = None

    def open_for_s(self, now_s: float) -> float | None:
        """Return the seconds since it opened, None while it is closed, infinity if it never is."""
        if self.sessions is None:
            return INFINITE_S
        index = bisect_right(self.sessions, (now_s, INFINITE_S)) - 1
        if index < 0:
            return None
        opened_at_s, closed_at_s = self.sessions[index]
        return now_s - opened_at_s if now_s < closed_at_s else None


ALWAYS_OPEN = MarketHours()


class Pulse:
    """When something was last heard of, and how often it usually is."""

    __slots__ = ("known", "last_s", "remedies", "since_s", "usual_s")

    def __init__(self, since_s: float) -> None:
        self.since_s = since_s
        self.last_s: float | None = None
        self.usual_s: float | None = None
        self.known = False  # ever heard of
        self.remedies = 0  # tried since it was last heard of

    def heard(self, now_s: float) -> None:
        """Note data, and learn the interval."""
        if self.last_s is not None:
            interval_s = now_s - self.last_s
            usual_s = self.usual_s
            self.usual_s = (
                interval_s if usual_s is None else usual_s + SMOOTHING * (interval_s - usual_s)
            )
        self.last_s = self.since_s = now_s
        self.known = True
        self.remedies = 0

    def silent_s(self, now_s: float, *, open_for_s: float) -> float:
        """Return how long nothing was heard while something could have been."""
        return min(now_s - self.since_s, open_for_s)

    def patience_s(self, liveness_s: float) -> float:
        """Return how long a silence is still usual; twice as long after each fruitless remedy."""
        usual_s = max(liveness_s, TOLERANCE * (self.usual_s or 0.0))
        return usual_s * (1 << min(self.remedies, PATIENCE_DOUBLINGS))

    def treated(self, now_s: float) -> None:
        """Note that something was done about the silence, and wait from now on."""
        self.remedies += 1
        self.since_s = now_s

    def pause(self) -> None:
        """Forget the time of the last data, not the interval: the market was closed since."""
        self.last_s = None


@dataclass(frozen=True, slots=True)
class Stall:
    """
    A symbol that is silent for longer than it usually is.

    Attributes:
        symbol: Which.
        known: Whether it ever had data; a symbol that never had may not exist.
        repeated: Whether a remedy was tried already.
        silent_s: For how long.
    """

    symbol: str
    silent_s: float
    known: bool
    repeated: bool


class Liveness:
    """Watches the symbols of a feed, and the feed as a whole."""

    def __init__(self, *, liveness_s: float, hours: MarketHours) -> None:
        self._liveness_s = liveness_s
        self._hours = hours
        self._symbols: dict[str, Pulse] = {}
        self._feed: Pulse | None = None
        self._was_open = False

    def is_open(self, wall_s: float) -> bool:
        """Say whether silence is suspicious at this Unix time."""
        return self._hours.open_for_s(wall_s) is not None

    def watch(self, symbols: Iterable[str], *, now_s: float) -> None:
        """Replace the watched symbols. Those that stay keep what was learned."""
        old = self._symbols
        self._symbols = {symbol: old.get(symbol) or Pulse(now_s) for symbol in symbols}

    def asked(self, symbol: str, *, now_s: float) -> None:
        """Wait for a symbol's data from now on: it was just subscribed to."""
        pulse = self._symbols.get(symbol)
        if pulse is not None:
            pulse.since_s = now_s

    def connected(self, *, now_s: float) -> None:
        """Wait for data from now on: nothing could come before."""
        for pulse in self._symbols.values():
            pulse.since_s = now_s
        if self._feed is None:
            self._feed = Pulse(now_s)
        self._feed.since_s = now_s

    def heard(self, symbols: Iterable[str], *, now_s: float) -> None:
        """Note data of some symbols."""
        if self._feed is not None:
            self._feed.heard(now_s)
        watched = self._symbols
        for symbol in symbols:
            pulse = watched.get(symbol)
            if pulse is not None:
                pulse.heard(now_s)

    def feed_silence_s(self, *, now_s: float, wall_s: float) -> float | None:
        """Return how long the whole feed is silent, None while that is usual; counts as treated."""
        open_for_s = self._open_for_s(wall_s)
        if open_for_s is None or self._feed is None or not self._symbols:
            return None
        silent_s = self._feed.silent_s(now_s, open_for_s=open_for_s)
        return silent_s if self._overdue(self._feed, now_s, open_for_s) else None

    def stalls(self, *, now_s: float, wall_s: float) -> list[Stall]:
        """Return the symbols that are silent for too long; they count as treated."""
        open_for_s = self._open_for_s(wall_s)
        if open_for_s is None:
            return []
        found = []
        for symbol, pulse in self._symbols.items():
            repeated = pulse.remedies > 0
            silent_s = pulse.silent_s(now_s, open_for_s=open_for_s)
            if self._overdue(pulse, now_s, open_for_s):
                found.append(Stall(symbol, silent_s, pulse.known, repeated))
        return found

    def _overdue(self, pulse: Pulse, now_s: float, open_for_s: float) -> bool:
        if pulse.silent_s(now_s, open_for_s=open_for_s) < pulse.patience_s(self._liveness_s):
            return False
        pulse.treated(now_s)
        return True

    def _open_for_s(self, wall_s: float) -> float | None:
        """Return how long the market is open; a night must not count as an interval."""
        open_for_s = self._hours.open_for_s(wall_s)
        if open_for_s is None and self._was_open:
            for pulse in (self._feed, *self._symbols.values()):
                if pulse is not None:
                    pulse.pause()
        self._was_open = open_for_s is not None
        return open_for_s
