"""
Recognise snapshots that repeat a trade.

A ticker shows the latest trade of its market. The venue sends a snapshot of each market after each
subscription, and REST answers are snapshots too, so the same trade arrives again and again. Stored
each time, it would become several rows, and its volume would count in the bars several times.
"""

from collections.abc import Iterable
from decimal import Decimal
from operator import attrgetter, itemgetter
from typing import Generic, TypeVar

import msgspec

from ray_pipeline.feeds.layout import Layout
from ray_pipeline.feeds.records import SNAPSHOT, Record

T = TypeVar("T", bound=Record)

# Of each symbol. A snapshot shows the newest trade; a server that lags, or a cached REST answer, an
# older one. A snapshot of a trade older than these is stored: a repeated row does less harm than a
# lost trade.
KEPT_TRADES = 64


class TickerTrade(msgspec.Struct, frozen=True, gc=False):
    """
    The trade that a ticker shows.

    Attributes:
        time_ms: Time of the trade; None if the ticker has none, so that nothing identifies it.
        total: Volume of a day up to and including this trade.
    """

    symbol: str
    time_ms: int | None
    price: Decimal | None
    volume: Decimal | None
    total: Decimal | None


Identity = tuple[int, Decimal | None, Decimal | None]


class SeenTrades(Generic[T]):
    """The newest trades of each symbol of a feed with snapshots."""

    def __init__(self, layout: Layout[T], trades: Iterable[TickerTrade] = ()) -> None:
        """Begin with trades that are stored already, oldest first."""
        self._fields = attrgetter(layout.symbol_column, *layout.trade_columns)
        self._totals: dict[str, dict[Identity, Decimal | None]] = {}
        for trade in trades:
            if (identity := _identity(trade)) is not None:
                self._note(trade, identity)

    def repeats(self, record: T) -> bool:
        """Return whether a record is a snapshot of a noted trade; note its trade otherwise."""
        trade = TickerTrade(*self._fields(record))
        if (identity := _identity(trade)) is None:
            return False
        is_snapshot = getattr(record, "stream_type", None) == SNAPSHOT
        if is_snapshot and self._is_noted(trade, identity):
            return True
        self._note(trade, identity)
        return False

    def _is_noted(self, trade: TickerTrade, identity: Identity) -> bool:
        totals = self._totals.get(trade.symbol, {})
        if identity not in totals:
            return False
        # Two trades of one millisecond can have the same price and volume. Only a trade makes the
        # total grow, so a larger total is another trade. A smaller one is the same trade after
        # older trades have left the total: at midnight, or at any time if it covers 24 hours.
        noted = totals[identity]
        return noted is None or trade.total is None or trade.total <= noted

    def _note(self, trade: TickerTrade, identity: Identity) -> None:
        totals = self._totals.setdefault(trade.symbol, {})
        totals[identity] = trade.total
        if len(totals) > KEPT_TRADES:
            # The oldest trade, not the one noted first: a replay must not displace new trades.
            del totals[min(totals, key=itemgetter(0))]


def _identity(trade: TickerTrade) -> Identity | None:
    return None if trade.time_ms is None else (trade.time_ms, trade.price, trade.volume)
