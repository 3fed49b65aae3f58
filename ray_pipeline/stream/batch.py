"""
One batch: from Kafka's bytes to all that a transaction writes. Pure; the clock is an argument.

A record is data, a notice or undecodable. Data becomes a COPY line, a part of a bar and a latest
value; a notice becomes a row of `gaps` or `dead_letters`; an undecodable value becomes a dead
letter. If its number has arrived before, the record is a repeat, and is only counted; so is a
snapshot of a trade that is stored. A message for which anything raises an exception becomes a dead
letter, and the next one is read.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Generic, TypeVar

import msgspec

from ray_pipeline.dead_letter_reasons import Reason
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
)
from ray_pipeline.stream.seen_trades import NO_CHANGES, SeenTrades, SnapshotChanges
from ray_pipeline.stream.sequence import LARGEST, Arrivals, Range

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


@dataclass(slots=True)
class _NewestEpoch:
    """The newest epoch of a shard that a partition has shown."""

    epoch: int


@dataclass(slots=True)
class _EpochStream:
    """
    One epoch of one shard in one partition: what its next record is checked against.

    Attributes:
        counts: Of the open batch; None before its first record in it.
    """

    epoch: int
    arrivals: Arrivals
    newest: _NewestEpoch
    counts: EpochCounts | None = None


class BatchBuilder(Generic[T]):
    """Turns messages into batches for one feed, and remembers which numbers have arrived."""

    def __init__(
        self,
        layout: Layout[T],
        *,
        future_tolerance_ms: int,
        arrivals: Mapping[ShardEpoch, Arrivals],
        newest: Mapping[tuple[int, int], int],
        seen: SeenTrades[T] | None = None,
    ) -> None:
        """
        Args:
            layout: How this feed's records become rows.
            future_tolerance_ms: How far an event time may lie ahead of the clock.
            arrivals: The numbers that are stored already, by (shard, epoch).
            newest: The newest epoch that a partition has shown of a shard, by (partition, shard).
            seen: The trades that are stored already, for a feed with snapshots.
        """
        self._layout: Layout[T] = layout
        self._future_tolerance_ms = future_tolerance_ms
        self._arrivals = dict(arrivals)
        self._newest = {key: _NewestEpoch(epoch) for key, epoch in newest.items()}
        self._streams: dict[tuple[int, int, int], _EpochStream] = {}
        self._decoder: Decoder[T] = Decoder(layout.kind)
        self._seen: SeenTrades[T] | None = seen

    def begin(self) -> RecordBatch[T]:
        """Return an empty batch."""
        for stream in self._streams.values():
            stream.counts = None
        return RecordBatch([], [], [], {}, {}, {}, {}, {}, {}, {})

    def finish(self, batch: RecordBatch[T]) -> RecordBatch[T]:
        """Return the batch with the numbers that arrived in it."""
        for shard_epoch, counts in batch.counts.items():
            counts.ranges = self._arrivals[shard_epoch].cut()
        if self._seen is not None:
            batch.snapshots = self._seen.cut()
        mark_symbols(self._layout, batch)
        return batch

    def extend(
        self, batch: RecordBatch[T], messages: Iterable[Message], *, now_ms: int
    ) -> dict[BarKey, T]:
        """Put messages into a batch; return the records that are now the newest of their second."""
        before = len(batch.rows)
        self._read(batch, messages, now_ms=now_ms)
        return summarise(self._layout, batch.rows[before:], bars=batch.bars, newest=batch.newest)

    def _read(self, batch: RecordBatch[T], messages: Iterable[Message], *, now_ms: int) -> None:
        decode, take = self._decoder.decode, self._take
        layout = self._layout
        event_ms_of, price_of, line_of = layout.event_ms, layout.price, layout.line
        volume_of, kind = layout.volume, layout.kind
        rows, seen = batch.rows, self._seen
        received_at: datetime | None = None
        received = ""
        last: Message | None = None
        latest_ms = now_ms + self._future_tolerance_ms
        last_year = str(from_ms(now_ms).year + 1)
        latest_gap = datetime(int(last_year), 12, 31, 23, 59, 59, tzinfo=UTC)
        for message in messages:
            if last is None or message.partition != last.partition:
                self._mark_end(batch, last)
                batch.first_offsets.setdefault(message.partition, message.offset)
            last = message
            # Any exception belongs to this message: a topic may hold any bytes, and the next
            # message must be read whatever the bytes of this one cause.
            try:
                record = decode(message.value or b"")
                counts = take(message, record, batch)
            except Exception as error:
                batch.parked.append(Parked(message, *_reason(error)))
                continue
            if counts is None:
                continue
            try:
                # The first test decides; the second, ten times slower, is for the type checker.
                if type(record) is not kind and isinstance(record, Gap | Reject):
                    self._add_notice(message, record, counts, batch, latest=latest_gap)
                    continue
                if not OLDEST_MS <= (event_ms := event_ms_of(record)) <= latest_ms:
                    raise bad_event_time(event_ms, now_ms=now_ms)
                # The records of a frame share their time of receipt, so its text is made once.
                if (created_at := record.created_at) is None or created_at != received_at:
                    received = received_text(created_at, message.timestamp_ms)
                    received_at = created_at
                if not "2000" <= received[:4] <= last_year:
                    raise BadRecord(f"received at {received}", reason=Reason.BAD_TIME)
                if (price := price_of(record)) is not None:
                    check_number(price, "price")
                if (volume := volume_of(record)) is not None:
                    check_number(volume, "volume")
                line = line_of(record, received)
            except Exception as error:
                counts.parked += 1
                batch.parked.append(_parked_for(error, message, record))
                continue
            # Only a record that can be stored is noted: a parked one leaves its trade unseen.
            if seen is not None and seen.repeats(record):
                batch.count_repeat(message.partition, counts)
                continue
            counts.stored += 1
            counts.last_received = received
            rows.append(RecordRow(message, record, line, received))
        self._mark_end(batch, last)

    @staticmethod
    def _mark_end(batch: RecordBatch[T], last: Message | None) -> None:
        if last is None:
            return
        batch.next_offsets[last.partition] = last.offset + 1
        batch.tails[last.partition] = last.value or b""

    def _take(
        self, message: Message, record: T | Gap | Reject, batch: RecordBatch[T]
    ) -> EpochCounts | None:
        """
        Count the record's number; None if it is a repeat, or from an owner that was replaced.

        Raises:
            BadRecord: If its shard, epoch or number is out of range.
        """
        stream = self._streams.get((message.partition, record.pod_index, record.epoch))
        if stream is None or stream.counts is None:
            stream = self._enter(message, record, batch)
        if not stream.arrivals.take(record.seq):
            batch.count_repeat(message.partition)
            return None
        if stream.epoch < stream.newest.epoch:
            self._park_stale(message, record, stream, batch)
            return None
        return stream.counts

    def _enter(
        self, message: Message, record: T | Gap | Reject, batch: RecordBatch[T]
    ) -> _EpochStream:
        """Return the record's stream, counting in this batch; raises as `_take` does."""
        shard, epoch, seq = record.pod_index, record.epoch, record.seq
        if not (1 <= seq < LARGEST and 0 <= epoch < LARGEST and abs(shard) < 2**31):
            detail = f"shard {shard}, epoch {epoch}, seq {seq}"
            raise BadRecord(detail, reason=Reason.BAD_IDENTITY)
        partition = message.partition
        newest = self._newest.setdefault((partition, shard), _NewestEpoch(-1))
        newest.epoch = max(newest.epoch, epoch)
        stream = self._streams.get((partition, shard, epoch))
        if stream is None:
            arrivals = self._arrivals.setdefault((shard, epoch), Arrivals.empty())
            stream = _EpochStream(epoch, arrivals, newest)
            self._streams[(partition, shard, epoch)] = stream
        stream.counts = batch.counts.setdefault((shard, epoch), EpochCounts())
        return stream

    def _park_stale(
        self,
        message: Message,
        record: T | Gap | Reject,
        stream: _EpochStream,
        batch: RecordBatch[T],
    ) -> None:
        """Park a record of a replaced owner: the newer owner has reported this time as a gap."""
        assert stream.counts is not None
        stream.counts.parked += 1
        detail = f"shard {record.pod_index} already has an owner newer than epoch {record.epoch}"
        batch.parked.append(_parked(message, record, reason=Reason.STALE_EPOCH, detail=detail))

    @staticmethod
    def _add_notice(
        message: Message,
        notice: Gap | Reject,
        counts: EpochCounts,
        batch: RecordBatch[T],
        *,
        latest: datetime,
    ) -> None:
        if isinstance(notice, Gap):
            counts.notices += 1
            batch.gaps.append((message, storable_gap(notice, latest=latest)))
            return
        counts.parked += 1
        batch.parked.append(
            _parked(
                message,
                notice,
                reason=notice.reason,
                detail=f"{notice.detail} ({notice.size_bytes} bytes)",
                payload=notice.payload.encode("utf-8", "surrogatepass"),
            )
        )


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
    layout: Layout[T],
    rows: Iterable[RecordRow[T]],
    *,
    bars: dict[BarKey, Bar],
    newest: dict[BarKey, T],
) -> dict[BarKey, T]:
    """
    Add rows to the bars of one second, and to the newest record of each symbol and second.

    Returns:
        The records that became the newest by that.
    """
    fresh: dict[BarKey, T] = {}
    symbol_of, time_of = layout.symbol, layout.event_ms
    price_of, volume_of = layout.price, layout.volume
    for row in rows:
        record = row.record
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


def _reason(error: Exception) -> tuple[str, str]:
    """Return the reason and the detail of the dead letter of a record that raised an error."""
    if isinstance(error, BadRecord):
        return error.reason, str(error)
    return Reason.UNPROCESSABLE, f"{type(error).__name__}: {error}"


def _parked_for(error: Exception, message: Message, record: Record) -> Parked:
    reason, detail = _reason(error)
    return _parked(message, record, reason=reason, detail=detail)


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
