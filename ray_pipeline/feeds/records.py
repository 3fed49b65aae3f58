"""
The records in Kafka: trades, tickers, and the notices of producers.

The field names are the wire format. Numbers are Decimal, so that 129.575 stays 129.575.
"""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Literal, Protocol

import msgspec

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# Of every value; raise it when an older generation could not read the new values correctly.
FORMAT_VERSION: Literal[1] = 1


SNAPSHOT = "SNAPSHOT"  # the type of a ticker that the venue repeats after each subscription


class Record(Protocol):
    """What every record has: the identity that its producer gave it, and when it was received."""

    @property
    def epoch(self) -> int:
        """The epoch of the producer's lease."""

    @property
    def seq(self) -> int:
        """The number of the record within the epoch."""

    @property
    def pod_index(self) -> int:
        """The shard."""

    @property
    def created_at(self) -> datetime | None:
        """When the record was received; None: the broker's time."""


class RecordIdentity(msgspec.Struct, frozen=True, gc=False):
    """
    The identity of a record. A producer numbers its records from 1 in each epoch.

    The content of a trade cannot identify it: identical trades in one frame are distinct trades.
    """

    shard: int
    epoch: int
    seq: int


class Trade(
    msgspec.Struct, frozen=True, gc=False, omit_defaults=True, tag=FORMAT_VERSION, tag_field="v"
):
    """One trade of a stock. The version is a tag: the decoder checks it at no cost."""

    symbol: str
    price: Decimal
    volume: Decimal | None
    timestamp_ms: int  # event time
    epoch: int
    seq: int
    pod_index: int = 0  # the shard
    trade_conditions: list[str] | None = None
    pod_name: str | None = None
    source: str | None = None
    category: str | None = None  # top gainers only
    created_at: datetime | None = None  # when it was received; None: the broker's time


class TickerFields(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, kw_only=True):
    """
    The values that a ticker of Upbit's protocol copies from its frame: the list of them.

    Frames, records, columns, COPY lines and checks derive from it.
    """

    trade_timestamp: int | None = None  # ms since the epoch
    trade_price: Decimal | None = None
    opening_price: Decimal | None = None
    high_price: Decimal | None = None
    low_price: Decimal | None = None
    prev_closing_price: Decimal | None = None
    change: str | None = None
    signed_change_price: Decimal | None = None
    signed_change_rate: Decimal | None = None
    trade_volume: Decimal | None = None
    acc_trade_price_24h: Decimal | None = None
    acc_trade_volume_24h: Decimal | None = None
    stream_type: str | None = None  # SNAPSHOT or REALTIME


class DetailedTickerFields(TickerFields, frozen=True, kw_only=True):
    """The values that Bithumb's tables hold in addition."""

    trade_date: str | None = None
    trade_time: str | None = None
    trade_date_kst: str | None = None
    trade_time_kst: str | None = None
    change_price: Decimal | None = None
    change_rate: Decimal | None = None
    acc_trade_price: Decimal | None = None
    acc_trade_volume: Decimal | None = None  # of the day, up to and including this trade
    highest_52_week_price: Decimal | None = None
    highest_52_week_date: str | None = None
    lowest_52_week_price: Decimal | None = None
    lowest_52_week_date: str | None = None


class Ticker(DetailedTickerFields, frozen=True, tag=FORMAT_VERSION, tag_field="v"):
    """
    One market's ticker at Bithumb.

    The venue's module corrects dates and timestamps before it creates a ticker.
    """

    market: str
    timestamp_field: int  # event time, ms since the epoch
    epoch: int
    seq: int
    pod_index: int = 0
    source: str | None = None
    created_at: datetime | None = None


def _version() -> Literal[1]:
    return FORMAT_VERSION


class Gap(
    msgspec.Struct, frozen=True, kw_only=True, tag="gap", tag_field="kind", omit_defaults=True
):
    """A producer reports a time in which it could not collect."""

    epoch: int
    seq: int
    pod_index: int
    gap_kind: str  # disconnected, stalled, producer_down, spool_full, ...
    cause: str
    symbols: list[str] | None = None  # None: all of the shard
    from_at: datetime | None = None
    to_at: datetime | None = None
    created_at: datetime | None = None
    # From a factory, because a default would be omitted. The tag of notices is `kind`.
    v: Literal[1] = msgspec.field(default_factory=_version)


class Reject(
    msgspec.Struct, frozen=True, kw_only=True, tag="reject", tag_field="kind", omit_defaults=True
):
    """A part of a frame that is not a record. The consumer stores it as a dead letter."""

    epoch: int
    seq: int
    pod_index: int
    reason: str  # see `dead_letter_reasons.Reason`
    detail: str
    payload: str  # at most REJECT_LIMIT_BYTES of it
    size_bytes: int  # of the whole payload
    created_at: datetime | None = None
    v: Literal[1] = msgspec.field(default_factory=_version)


# Kafka's default limit of a message is 1 MiB. A rejected frame must fit into a message.
REJECT_LIMIT_BYTES = 256 * 1024

Notice = Gap | Reject


def to_ms(moment: datetime) -> int:
    """Return milliseconds since the epoch, rounded down."""
    return (moment - EPOCH) // timedelta(milliseconds=1)


def from_ms(timestamp_ms: int) -> datetime:
    """Return the moment in UTC; OverflowError past the year 9999."""
    return EPOCH + timedelta(milliseconds=timestamp_ms)
