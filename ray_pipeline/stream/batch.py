"""
One batch: from Kafka's bytes to all that a transaction needs. Pure; the clock is an argument.

A record is data, a notice or rubbish. Data becomes a COPY line, a part of a bar and a latest value;
a notice becomes a row of `gaps` or `dead_letters`; rubbish becomes a dead letter. Nothing else can
happen to it, unless its number has arrived before: then it is a repeat, and counted as one.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Generic, TypeVar

import msgspec

from ray_pipeline.errors import BadRecord
from ray_pipeline.feeds.codec import Decoder
from ray_pipeline.feeds.layout import Layout
from ray_pipeline.feeds.records import Gap, Record, Reject, from_ms
from ray_pipeline.stream.bars import Bar, BarKey
from ray_pipeline.stream.rows import (
    OLDEST_MS,
    bad_event_time,
    check_number,
    received_text,
    storable_gap,
    without_nul,
)
from ray_pipeline.stream.sequence import Arrivals, Range

T = TypeVar("T", bound=Record)
ShardEpoch = tuple[int, int]
ZERO = Decimal(0)
LARGEST = 2**62  # int8 in Postgres


class Message(msgspec.Struct, gc=False):
    """
    One record of Kafka as it came.

    A struct outside the garbage collector, as are items and records: one of each is made for every
    record, and walking them took a third of the consumer's time.
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
    payload: bytes | None = None  # where it is not the message's value


@dataclass(slots=True)
class Tally:
    """What one (shard, epoch) did in a batch."""

    ranges: Sequence[Range] = ()
    stored: int = 0
    parked: int = 0
    notices: int = 0
    last_received: str | None = None
    last_event_ms: int | None = None
    symbols: set[str] = field(default_factory=set)


class Item(msgspec.Struct, Generic[T], gc=False):
    """One data record with its row."""

    message: Message
    record: T
    line: str
    received: str


@dataclass(slots=True)
class Latest:
    """The newest value of a symbol within one second."""

    event_ms: int
    value: str


@dataclass(slots=True)
class Prepared(Generic[T]):
    """Everything that one transaction writes, and what Redis gets of it."""

    items: list[Item[T]]
    parked: list[Parked]
    gaps: list[tuple[Message, Gap]]
    tallies: dict[ShardEpoch, Tally]
    bars: dict[BarKey, Bar]
    newest: dict[BarKey, T]
    next_offsets: dict[int, int]
    first_offsets: dict[int, int]
    tails: dict[int, bytes]
    redelivered: dict[int, int]

    @property
    def size(self) -> int:
        """How many records of Kafka it accounts for."""
        return len(self.items) + len(self.parked) + len(self.gaps) + sum(self.redelivered.values())


@dataclass(slots=True)
class _Shard:
    """The newest epoch that a partition has shown of a shard."""

    newest: int


@dataclass(slots=True)
class _Lane:
    """
    One epoch of one shard in one partition: what the next record of it is checked against.

    Attributes:
        tally: Of the batch at hand; None before its first record in it.
    """

    epoch: int
    arrivals: Arrivals
    shard: _Shard
    tally: Tally | None = None


@dataclass(frozen=True, slots=True)
class Rules:
    """What the checks of a batch need to know."""

    future_tolerance_ms: int


class Preparer(Generic[T]):
    """Turns messages into batches for one feed; holds which numbers have arrived."""

    def __init__(
        self,
        layout: Layout[T],
        rules: Rules,
        *,
        arrivals: Mapping[ShardEpoch, Arrivals],
        newest: Mapping[tuple[int, int], int],
    ) -> None:
        """
        Args:
            layout: How this feed's records become rows.
            rules: The checks' limits.
            arrivals: What is stored already, by (shard, epoch).
            newest: The newest epoch that a partition has shown of a shard, by (partition, shard).
        """
        self._layout: Layout[T] = layout
        self._rules = rules
        self._arrivals = dict(arrivals)
        self._shards = {place: _Shard(epoch) for place, epoch in newest.items()}
        self._lanes: dict[tuple[int, int, int], _Lane] = {}
        self._decoder: Decoder[T] = Decoder(layout.kind)

    @property
    def arrivals(self) -> Mapping[ShardEpoch, Arrivals]:
        """Which numbers have arrived, by (shard, epoch)."""
        return self._arrivals

    def prepare(self, messages: Iterable[Message], *, now_ms: int) -> Prepared[T]:
        """Return the batch of `messages`, which are in order within each partition."""
        batch = self.begin()
        self.extend(batch, messages, now_ms=now_ms)
        return self.finish(batch)

    def begin(self) -> Prepared[T]:
        """Return an empty batch."""
        for lane in self._lanes.values():
            lane.tally = None
        return Prepared([], [], [], {}, {}, {}, {}, {}, {}, {})

    def finish(self, batch: Prepared[T]) -> Prepared[T]:
        """Return the batch with the numbers that arrived in it."""
        for owner, tally in batch.tallies.items():
            tally.ranges = self._arrivals[owner].cut()
        self._mark_symbols(batch)
        return batch

    def extend(
        self, batch: Prepared[T], messages: Iterable[Message], *, now_ms: int
    ) -> dict[BarKey, T]:
        """Put messages into a batch; return the values that are newest in it since they came."""
        before = len(batch.items)
        self._read(batch, messages, now_ms=now_ms)
        return summarise(self._layout, batch.items[before:], batch.bars, batch.newest)

    def _read(self, batch: Prepared[T], messages: Iterable[Message], *, now_ms: int) -> None:
        decode, take = self._decoder.decode, self._take
        layout = self._layout
        event_ms_of, price_of, line_of = layout.event_ms, layout.price, layout.line
        volume_of, kind = layout.volume, layout.kind
        items = batch.items
        received_at: datetime | None = None
        received = ""
        last: Message | None = None
        latest_ms = now_ms + self._rules.future_tolerance_ms
        last_year = str(from_ms(now_ms).year + 1)
        end_of_times = datetime(int(last_year), 12, 31, 23, 59, 59, tzinfo=UTC)
        for message in messages:
            if last is None or message.partition != last.partition:
                self._mark_end(batch, last)
                batch.first_offsets.setdefault(message.partition, message.offset)
            last = message
            try:
                record = decode(message.value or b"")
            except BadRecord as error:
                batch.parked.append(Parked(message, error.reason, str(error)))
                continue
            tally = take(message, record, batch)
            if tally is None:
                continue
            # The first test alone is enough, and ten times as fast as the second.
            if type(record) is not kind and isinstance(record, Gap | Reject):
                self._note(message, record, tally, batch, latest=end_of_times)
                continue
            try:
                if not OLDEST_MS <= (event_ms := event_ms_of(record)) <= latest_ms:
                    raise bad_event_time(event_ms, now_ms=now_ms)
                # The records of a frame were received in one moment.
                if (created_at := record.created_at) is None or created_at != received_at:
                    received = received_text(created_at, message.timestamp_ms)
                    received_at = created_at
                if not "2000" <= received[:4] <= last_year:
                    raise BadRecord(f"received at {received}", reason="bad_time")
                if (price := price_of(record)) is not None:
                    check_number(price, "price")
                if (volume := volume_of(record)) is not None:
                    check_number(volume, "volume")
                line = line_of(record, received)
            except BadRecord as error:
                tally.parked += 1
                batch.parked.append(
                    _parked(message, record, reason=error.reason, detail=str(error))
                )
                continue
            tally.stored += 1
            tally.last_received = received
            items.append(Item(message, record, line, received))
        self._mark_end(batch, last)

    @staticmethod
    def _mark_end(batch: Prepared[T], last: Message | None) -> None:
        if last is None:
            return
        batch.next_offsets[last.partition] = last.offset + 1
        batch.tails[last.partition] = last.value or b""

    def _take(self, message: Message, record: T | Gap | Reject, batch: Prepared[T]) -> Tally | None:
        """Count the record's number; None if it came before or its owner was replaced."""
        lane = self._lanes.get((message.partition, record.pod_index, record.epoch))
        if lane is None or lane.tally is None or record.seq < 1:
            lane = self._enter(message, record, batch)
            if lane is None:
                return None
        if not lane.arrivals.take(record.seq):
            batch.redelivered[message.partition] = batch.redelivered.get(message.partition, 0) + 1
            return None
        if lane.epoch < lane.shard.newest:
            self._park_stale(message, record, lane, batch)
            return None
        return lane.tally

    def _enter(
        self, message: Message, record: T | Gap | Reject, batch: Prepared[T]
    ) -> _Lane | None:
        """Return the record's lane with a tally for this batch; None if its identity is no such."""
        shard, epoch, seq = record.pod_index, record.epoch, record.seq
        if not (1 <= seq < LARGEST and 0 <= epoch < LARGEST and abs(shard) < 2**31):
            detail = f"shard {shard}, epoch {epoch}, seq {seq}"
            batch.parked.append(Parked(message, "bad_identity", detail))
            return None
        partition = message.partition
        newest = self._shards.setdefault((partition, shard), _Shard(-1))
        newest.newest = max(newest.newest, epoch)
        lane = self._lanes.get((partition, shard, epoch))
        if lane is None:
            arrivals = self._arrivals.setdefault((shard, epoch), Arrivals.empty())
            lane = self._lanes[(partition, shard, epoch)] = _Lane(epoch, arrivals, newest)
        lane.tally = batch.tallies.setdefault((shard, epoch), Tally())
        return lane

    def _park_stale(
        self, message: Message, record: T | Gap | Reject, lane: _Lane, batch: Prepared[T]
    ) -> None:
        """An owner that was replaced may not write any more; what it sent is kept aside."""
        assert lane.tally is not None
        lane.tally.parked += 1
        detail = f"shard {record.pod_index} already has an owner newer than epoch {record.epoch}"
        batch.parked.append(_parked(message, record, reason="stale_epoch", detail=detail))

    @staticmethod
    def _note(
        message: Message,
        notice: Gap | Reject,
        tally: Tally,
        batch: Prepared[T],
        *,
        latest: datetime,
    ) -> None:
        if isinstance(notice, Gap):
            tally.notices += 1
            batch.gaps.append((message, storable_gap(notice, latest=latest)))
            return
        tally.parked += 1
        batch.parked.append(
            _parked(
                message,
                notice,
                reason=without_nul(notice.reason),
                detail=f"{notice.detail} ({notice.size_bytes} bytes)",
                payload=notice.payload.encode("utf-8", "surrogatepass"),
            )
        )

    def _mark_symbols(self, batch: Prepared[T]) -> None:
        """Tell each tally which symbols it had, and how far their time went."""
        for record in batch.newest.values():
            tally = batch.tallies[(record.pod_index, record.epoch)]
            tally.symbols.add(self._layout.symbol(record))
            event_ms = self._layout.event_ms(record)
            if tally.last_event_ms is None or event_ms > tally.last_event_ms:
                tally.last_event_ms = event_ms


def summarise(
    layout: Layout[T], items: Iterable[Item[T]], bars: dict[BarKey, Bar], newest: dict[BarKey, T]
) -> dict[BarKey, T]:
    """
    Add `items` to the bars of one second, and to the newest record of each symbol and second.

    Returns:
        What is newest because of them.
    """
    fresh: dict[BarKey, T] = {}
    symbol_of, time_of = layout.symbol, layout.event_ms
    price_of, volume_of = layout.price, layout.volume
    for item in items:
        record = item.record
        price = price_of(record)
        if price is None:
            continue
        symbol, event_ms = symbol_of(record), time_of(record)
        key = (symbol, event_ms // 1000)
        bar = bars.get(key)
        if bar is None:
            bars[key] = Bar(price, volume_of(record) or ZERO, event_ms)
            fresh[key] = record
        else:
            if event_ms >= bar.close_ms:
                fresh[key] = record
            bar.add(price, volume_of(record) or ZERO, event_ms)
    newest |= fresh
    return fresh


def _parked(
    message: Message,
    record: Record,
    *,
    reason: str,
    detail: str,
    payload: bytes | None = None,
) -> Parked:
    return Parked(
        message,
        reason,
        detail,
        shard=record.pod_index,
        epoch=record.epoch,
        seq=record.seq,
        payload=payload,
    )
