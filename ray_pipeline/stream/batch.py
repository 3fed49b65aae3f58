"""
One batch: the records of Kafka that one transaction stores, and all that it writes for them.

`batch_builder` makes batches from Kafka's messages.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Generic, TypeVar

import msgspec

from ray_pipeline.feeds.layout import Layout, TradeValues
from ray_pipeline.feeds.records import Gap, Record
from ray_pipeline.stream.bars import Bar, BarKey
from ray_pipeline.stream.seen_trades import NO_CHANGES, SnapshotChanges
from ray_pipeline.stream.sequence import Range

T = TypeVar("T", bound=Record)
ShardEpoch = tuple[int, int]
ZERO = Decimal(0)


class Message(msgspec.Struct, gc=False):
    """
    One record of Kafka as it was read.

    Messages, rows and records are structs outside the garbage collector: one of each is made for
    every record, and traversing them took a third of the consumer's time.
    """

    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None


@dataclass(frozen=True, slots=True)
class Parked:
    """A dead letter before it is stored."""

    message: Message
    reason: str
    detail: str
    shard: int | None = None
    epoch: int | None = None
    seq: int | None = None
    payload: bytes | None = None  # if it differs from the message's value


@dataclass(slots=True)
class EpochCounts:
    """How many records of one (shard, epoch) a batch holds, and which."""

    ranges: Sequence[Range] = ()
    stored: int = 0
    parked: int = 0
    notices: int = 0
    last_received: str | None = None
    last_event_ms: int | None = None
    symbols: set[str] = field(default_factory=set)


class RecordRow(msgspec.Struct, Generic[T], gc=False):
    """One data record with its row."""

    message: Message
    record: T
    line: str
    received: str
    trade: TradeValues


@dataclass(slots=True)
class RecordBatch(Generic[T]):
    """Everything that one transaction writes, and the newest values for Redis."""

    rows: list[RecordRow[T]]
    parked: list[Parked]
    gaps: list[tuple[Message, Gap]]
    counts: dict[ShardEpoch, EpochCounts]
    bars: dict[BarKey, Bar]
    newest: dict[BarKey, T]
    next_offsets: dict[int, int]
    first_offsets: dict[int, int]
    tails: dict[int, bytes]
    redelivered: dict[int, int]
    snapshots: SnapshotChanges = NO_CHANGES

    def become(self, written: "RecordBatch[T]") -> None:
        """Take over what was written of this batch, after some records were refused."""
        self.rows, self.parked, self.gaps = written.rows, written.parked, written.gaps
        self.counts, self.bars, self.newest = written.counts, written.bars, written.newest

    @property
    def size(self) -> int:
        """How many records of Kafka the batch accounts for."""
        return len(self.rows) + len(self.parked) + len(self.gaps) + sum(self.redelivered.values())

    def count_repeat(self, partition: int, counts: EpochCounts | None = None) -> None:
        """Count a record that came again, or, with the counts of its epoch, a snapshot."""
        if counts is not None:
            # The number of a snapshot is new. It counts as a notice, so that the counts add up.
            counts.notices += 1
        self.redelivered[partition] = self.redelivered.get(partition, 0) + 1


def mark_symbols(layout: Layout[T], batch: RecordBatch[T]) -> None:
    """Set in the counts which symbols the batch holds, and their newest event time."""
    for counts in batch.counts.values():
        counts.symbols, counts.last_event_ms = set(), None
    for record in batch.newest.values():
        counts = batch.counts[(record.pod_index, record.epoch)]
        counts.symbols.add(layout.symbol(record))
        event_ms = layout.event_ms(record)
        if counts.last_event_ms is None or event_ms > counts.last_event_ms:
            counts.last_event_ms = event_ms


def summarise(
    rows: Iterable[RecordRow[T]], *, bars: dict[BarKey, Bar], newest: dict[BarKey, T]
) -> dict[BarKey, T]:
    """
    Add rows to the bars of one second, and to the newest record of each symbol and second.

    Returns:
        The records that became the newest by that.
    """
    fresh: dict[BarKey, T] = {}
    for row in rows:
        symbol, event_ms, price, volume = row.trade
        if price is None:
            continue
        key = (symbol, event_ms // 1000)
        bar = bars.get(key)
        if bar is None:
            bars[key] = Bar(price, volume or ZERO, event_ms)
            fresh[key] = row.record
        else:
            if event_ms >= bar.close_ms:
                fresh[key] = row.record
            bar.add(price, volume or ZERO, event_ms)
    newest |= fresh
    return fresh
