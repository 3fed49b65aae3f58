"""
Recognise tickers that show a trade again.

A ticker shows the latest trade of its market. The venue sends a snapshot of each market after each
subscription, and REST answers are snapshots too, so the same trade arrives again and again. Stored
each time, it would become several rows, and its volume would count in the bars several times.
"""

from collections.abc import Iterable
from dataclasses import dataclass
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


@dataclass(slots=True)
class _Noted:
    """
    A noted trade.

    Attributes:
        total: The largest total that was seen with it.
        streamed: Whether the stream itself has delivered it, and not only a snapshot.
    """

    total: Decimal | None
    streamed: bool


class SeenTrades(Generic[T]):
    """The newest trades of each symbol of a feed with snapshots."""

    def __init__(self, layout: Layout[T], trades: Iterable[TickerTrade] = ()) -> None:
        """Begin with trades that are stored already, oldest first."""
        self._fields = attrgetter(layout.symbol_column, *layout.trade_columns)
        self._symbols: dict[str, dict[Identity, _Noted]] = {}
        for trade in trades:
            if (identity := _identity(trade)) is not None:
                self._note(trade, identity, streamed=True)

    def repeats(self, record: T) -> bool:
        """
        Return whether a record shows a noted trade again; note its trade otherwise.

        Two messages of the stream are never repeats of each other, even if they are equal.
        """
        trade = TickerTrade(*self._fields(record))
        if (identity := _identity(trade)) is None:
            return False
        streamed = getattr(record, "stream_type", None) != SNAPSHOT
        noted = self._symbols.get(trade.symbol, {}).get(identity)
        if noted is None or _has_grown(noted.total, trade.total) or (streamed and noted.streamed):
            self._note(trade, identity, streamed=streamed)
            return False
        # A snapshot repeats the trade, or the stream delivers a trade that a snapshot has shown: a
        # REST answer overtakes the stream now and then.
        noted.streamed = noted.streamed or streamed
        return True

    def _note(self, trade: TickerTrade, identity: Identity, *, streamed: bool) -> None:
        trades = self._symbols.setdefault(trade.symbol, {})
        trades[identity] = _Noted(trade.total, streamed)
        if len(trades) > KEPT_TRADES:
            # The oldest trade, not the one noted first: a replay must not displace new trades.
            del trades[min(trades, key=itemgetter(0))]


def _has_grown(noted: Decimal | None, total: Decimal | None) -> bool:
    """
    Return whether a total proves another trade with the same time, price and volume.

    Only a trade makes the total grow. It shrinks without one: at midnight, or at any time if it
    covers 24 hours. A smaller total therefore belongs to the same trade.
    """
    return noted is not None and total is not None and total > noted


def _identity(trade: TickerTrade) -> Identity | None:
    return None if trade.time_ms is None else (trade.time_ms, trade.price, trade.volume)
