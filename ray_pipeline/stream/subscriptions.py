"""The subscriptions of a connection: desired, requested and confirmed symbols."""

from collections.abc import Iterable


class Subscriptions:
    """
    Desired, requested and confirmed symbols of one connection.

    A venue does not acknowledge a subscription. The first data of a symbol confirms it.
    """

    def __init__(self) -> None:
        self._desired: dict[str, None] = {}  # a set that keeps its order
        self._asked: set[str] = set()
        self._confirmed: set[str] = set()

    @property
    def desired(self) -> tuple[str, ...]:
        """The symbols to be subscribed to, in order."""
        return tuple(self._desired)

    @property
    def confirmed(self) -> int:
        """The number of desired symbols with data on this connection."""
        return len(self._confirmed)

    def want(self, symbols: Iterable[str]) -> None:
        """Replace the desired symbols. Symbols that remain keep their state."""
        self._desired = dict.fromkeys(symbols)
        self._confirmed &= self._desired.keys()

    def connected(self) -> None:
        """Reset the state: a new connection has no subscriptions."""
        self._asked.clear()
        self._confirmed.clear()

    def missing(self) -> list[str]:
        """Return the symbols to subscribe to, in the desired order."""
        return [symbol for symbol in self._desired if symbol not in self._asked]

    def surplus(self) -> list[str]:
        """Return the symbols to unsubscribe from, sorted."""
        return sorted(self._asked - self._desired.keys())

    def complete(self) -> bool:
        """Return whether the requested symbols are exactly the desired ones."""
        return self._asked == self._desired.keys()

    def asked(self, *, added: Iterable[str] = (), dropped: Iterable[str] = ()) -> None:
        """Note the symbols of a request that was sent."""
        self._asked.update(added)
        for symbol in dropped:
            self._asked.discard(symbol)
            self._confirmed.discard(symbol)

    def ask_again(self, symbol: str) -> None:
        """Request a symbol again: the first request had no effect."""
        self._asked.discard(symbol)
        self._confirmed.discard(symbol)

    def heard(self, symbol: str) -> bool:
        """Note data of a symbol; return False if it is not desired."""
        if symbol in self._desired:
            self._confirmed.add(symbol)
            return True
        return False
