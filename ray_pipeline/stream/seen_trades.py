"""
Recognise tickers that show a trade again.

A ticker shows the latest trade of its market. The venue sends a snapshot of each market after each
subscription, and REST answers are snapshots too, so the same trade arrives again and again. Stored
each time, it would become several rows, and its volume would count in the bars several times.

The order of the partition decides, so a crash of a producer changes nothing: what the broker has
accepted of an epoch, acknowledged or not, comes before the records of the next epoch. What the
consumer knows is written with its rows, in the same transaction, and read again by its successor.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from decimal import Decimal
from heapq import heappop, heappush
from operator import attrgetter
from typing import Generic, TypeVar

import msgspec

from ray_pipeline.feeds.layout import Layout
from ray_pipeline.feeds.records import SNAPSHOT, Record, RecordIdentity

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
        snapshot: Its row, if only snapshots have shown the trade so far.
    """

    symbol: str
    time_ms: int | None
    price: Decimal | None
    volume: Decimal | None
    total: Decimal | None
    snapshot: RecordIdentity | None = None


Identity = tuple[int, Decimal | None, Decimal | None]


@dataclass(frozen=True, slots=True)
class SnapshotChanges:
    """
    What became known about the rows that snapshots put.

    Attributes:
        added: New rows of trades that only snapshots have shown.
        settled: Rows of trades that the stream has delivered since, or that are too old.
    """

    added: Collection[RecordIdentity] = ()
    settled: Collection[RecordIdentity] = ()


NO_CHANGES = SnapshotChanges()


@dataclass(slots=True)
class _Noted:
    """
    A noted trade.

    Attributes:
        total: The largest total that was seen with it.
        snapshot: As in `TickerTrade`; None after the stream has delivered the trade.
    """

    total: Decimal | None
    snapshot: RecordIdentity | None


@dataclass(slots=True)
class _SymbolTrades:
    """
    The noted trades of one symbol.

    Attributes:
        by_age: A heap of them by time. The number decides between trades of the same time.
    """

    noted: dict[Identity, _Noted]
    by_age: list[tuple[int, int, Identity]]


def is_snapshot(record: Record) -> bool:
    """Return whether a record is a snapshot, and not a message of the stream."""
    return getattr(record, "stream_type", None) == SNAPSHOT


class SeenTrades(Generic[T]):
    """The newest trades of each symbol of a feed with snapshots."""

    def __init__(self, layout: Layout[T], trades: Iterable[TickerTrade] = ()) -> None:
        """Begin with trades that are stored already, oldest first."""
        self._fields = attrgetter(layout.symbol_column, *layout.trade_columns)
        self._symbols: dict[str, _SymbolTrades] = {}
        self._count = 0
        self._added: set[RecordIdentity] = set()
        self._settled: list[RecordIdentity] = []
        for trade in trades:
            if (identity := _identity(trade)) is not None:
                self._note(trade, identity, snapshot=trade.snapshot)

    def repeats(self, record: T) -> bool:
        """
        Return whether a record shows a noted trade again; note its trade otherwise.

        Two messages of the stream are never repeats of each other, even if they are equal.
        """
        trade = TickerTrade(*self._fields(record))
        if (identity := _identity(trade)) is None:
            return False
        streamed = not is_snapshot(record)
        symbol = self._symbols.get(trade.symbol)
        noted = None if symbol is None else symbol.noted.get(identity)
        if (
            noted is None
            or _has_grown(noted.total, trade.total)
            or (streamed and noted.snapshot is None)
        ):
            row = None if streamed else RecordIdentity(record.pod_index, record.epoch, record.seq)
            if row is not None:
                self._added.add(row)
            self._note(trade, identity, snapshot=row)
            return False
        # A snapshot repeats the trade, or the stream delivers a trade that a snapshot has shown: a
        # REST answer overtakes the stream now and then.
        if streamed:
            self._settle(noted)
        return True

    def cut(self) -> SnapshotChanges:
        """Return the changes since the last cut, to be stored with the rows since then."""
        if not (self._added or self._settled):
            return NO_CHANGES
        changes = SnapshotChanges(self._added, self._settled)
        self._added, self._settled = set(), []
        return changes

    def _note(
        self, trade: TickerTrade, identity: Identity, *, snapshot: RecordIdentity | None
    ) -> None:
        symbol = self._symbols.get(trade.symbol)
        if symbol is None:
            symbol = self._symbols[trade.symbol] = _SymbolTrades({}, [])
        replaced = symbol.noted.get(identity)
        symbol.noted[identity] = _Noted(trade.total, snapshot)
        if replaced is not None:
            self._settle(replaced)
            return
        self._count += 1
        heappush(symbol.by_age, (identity[0], self._count, identity))
        if len(symbol.by_age) > KEPT_TRADES:
            # The oldest trade, not the one noted first: a replay must not displace new trades. A
            # search for it among all trades would take ten times as long as the rest of `repeats`.
            self._settle(symbol.noted.pop(heappop(symbol.by_age)[2]))

    def _settle(self, noted: _Noted) -> None:
        """Note that the row of a snapshot needs no mark any more."""
        row, noted.snapshot = noted.snapshot, None
        if row is None:
            return
        if row in self._added:
            self._added.remove(row)
        else:
            self._settled.append(row)


def _has_grown(noted: Decimal | None, total: Decimal | None) -> bool:
    """
    Return whether a total proves another trade with the same time, price and volume.

    Only a trade makes the total grow. It shrinks without one: at midnight, or at any time if it
    covers 24 hours. A smaller total therefore belongs to the same trade.
    """
    return noted is not None and total is not None and total > noted


def _identity(trade: TickerTrade) -> Identity | None:
    return None if trade.time_ms is None else (trade.time_ms, trade.price, trade.volume)
