"""What a connection should be subscribed to, what it was asked for, and what is known to come."""

from collections.abc import Iterable


class Subscriptions:
    """
    Desired against confirmed symbols of one connection.

    A provider does not say whether a subscription took: the first data of a symbol confirms it.
    """

    def __init__(self) -> None:
        self._wanted: dict[str, None] = {}  # a set that keeps its order
        self._asked: set[str] = set()
        self._confirmed: set[str] = set()

    @property
    def wanted(self) -> tuple[str, ...]:
        """The symbols to be subscribed to, in order."""
        return tuple(self._wanted)

    @property
    def confirmed(self) -> int:
        """How many wanted symbols have had data on this connection."""
        return len(self._confirmed)

    def want(self, symbols: Iterable[str]) -> None:
        """Replace the wish. Symbols that stay are left alone."""
        self._wanted = dict.fromkeys(symbols)
        self._confirmed &= self._wanted.keys()

    def connected(self) -> None:
        """Start over: a new connection knows nothing."""
        self._asked.clear()
        self._confirmed.clear()

    def missing(self) -> list[str]:
        """Return the symbols to subscribe to, in the wish's order."""
        return [symbol for symbol in self._wanted if symbol not in self._asked]

    def surplus(self) -> list[str]:
        """Return the symbols to unsubscribe from, sorted."""
        return sorted(self._asked - self._wanted.keys())

    def complete(self) -> bool:
        """Say whether everything wanted was asked for, and nothing else is."""
        return self._asked == self._wanted.keys()

    def asked(self, *, added: Iterable[str] = (), dropped: Iterable[str] = ()) -> None:
        """Note what was sent."""
        self._asked.update(added)
        for symbol in dropped:
            self._asked.discard(symbol)
            self._confirmed.discard(symbol)

    def ask_again(self, symbol: str) -> None:
        """Have a symbol subscribed once more: nothing came of the first time."""
        self._asked.discard(symbol)
        self._confirmed.discard(symbol)

    def heard(self, symbol: str) -> bool:
        """Note data of a symbol; False if it is not wanted."""
        if symbol in self._wanted:
            self._confirmed.add(symbol)
            return True
        return False

    def is_confirmed(self, symbol: str) -> bool:
        """Say whether the symbol has had data on this connection."""
        return symbol in self._confirmed
