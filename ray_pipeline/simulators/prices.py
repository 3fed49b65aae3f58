"""Random prices that are reproducible by their seed, and the pace of sending them."""

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from random import Random

CONDITIONS = (("1",), ("1", "12"), ("1", "8"), ("1", "8", "12"), ("1", "24"))
STEP = 0.0005


@dataclass(frozen=True, slots=True)
class Quote:
    """A trade without its time."""

    symbol: str
    price: Decimal
    size: int
    conditions: tuple[str, ...]


class Walk:
    """A random walk per symbol. Symbols do not influence one another."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._walks: dict[str, tuple[Random, float]] = {}

    def next(self, symbol: str) -> Quote:
        """Return the symbol's next trade; the price has two to four decimals."""
        random, price = self._walks.get(symbol) or self._begin(symbol)
        price = max(0.5, price * (1 + random.gauss(0, STEP)))
        self._walks[symbol] = (random, price)
        decimals = random.choice((2, 2, 2, 3, 4))
        size = random.choice((1, 5, 10, 50, 100, 100, 200, 700))
        text = Decimal(f"{price:.{decimals}f}")
        return Quote(symbol, text, size, random.choice(CONDITIONS))

    def _begin(self, symbol: str) -> tuple[Random, float]:
        random = Random(f"{self._seed}/{symbol}")
        return random, random.uniform(10, 900)


class Pace:
    """
    Computes how many records are due, from the time that has passed since the last call.

    A timer that fires every few milliseconds is late by a varying amount. To send a fixed number at
    each call would lose these delays, and the rate would be too low. The time that has passed
    includes them, and fractions of a record are carried over to the next call.
    """

    def __init__(self, rate: float, *, now_s: float) -> None:
        self.rate = rate
        self._at_s = now_s
        self._due = 0.0

    def due(self, *, now_s: float) -> int:
        """Return how many records are due since the last call."""
        # At most the records of one second, so a pause of the process is not followed by a burst.
        self._due += min(now_s - self._at_s, 1.0) * self.rate
        self._at_s = now_s
        whole = int(self._due)
        self._due -= whole
        return whole


def chunks(count: int, random: Random) -> Iterator[int]:
    """Yield sizes of frames for `count` trades: one to ten each, or 50 if there are many."""
    while count > 0:
        size = min(count, random.randint(1, 10) if count < 200 else 50)
        yield size
        count -= size
