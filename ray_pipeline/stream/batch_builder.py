"""
From Kafka's bytes to all that a transaction writes. Pure; the clock is an argument.

A record is data, a notice or undecodable. Data becomes a COPY line, a part of a bar and a latest
value; a notice becomes a row of `gaps` or `dead_letters`; an undecodable value becomes a dead
letter. If its number has arrived before, the record is a repeat, and is only counted; so is a
snapshot of a trade that is stored. A message for which anything raises an exception becomes a dead
letter, and the next one is read.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Generic, TypeVar

from ray_pipeline.dead_letter_reasons import Reason
from ray_pipeline.errors import BadRecord
from ray_pipeline.feeds.codec import Decoder
from ray_pipeline.feeds.layout import Layout
from ray_pipeline.feeds.records import Gap, Record, Reject, from_ms
from ray_pipeline.stream.bars import BarKey
from ray_pipeline.stream.batch import (
    EpochCounts,
    Message,
    Parked,
    RecordBatch,
    RecordRow,
    ShardEpoch,
    mark_symbols,
    summarise,
)
from ray_pipeline.stream.rows import (
    OLDEST_MS,
    bad_event_time,
    check_number,
    received_text,
    storable_gap,
)
from ray_pipeline.stream.seen_trades import SeenTrades
from ray_pipeline.stream.sequence import LARGEST, Arrivals

T = TypeVar("T", bound=Record)


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
        return summarise(batch.rows[before:], bars=batch.bars, newest=batch.newest)

    def _read(self, batch: RecordBatch[T], messages: Iterable[Message], *, now_ms: int) -> None:
        decode, take = self._decoder.decode, self._take
        layout = self._layout
        trade_of, line_of, kind = layout.trade, layout.line, layout.kind
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
                _, event_ms, price, volume = trade = trade_of(record)
                if not OLDEST_MS <= event_ms <= latest_ms:
                    raise bad_event_time(event_ms, now_ms=now_ms)
                # The records of a frame share their time of receipt, so its text is made once.
                if (created_at := record.created_at) is None or created_at != received_at:
                    received = received_text(created_at, message.timestamp_ms)
                    received_at = created_at
                if not "2000" <= received[:4] <= last_year:
                    raise BadRecord(f"received at {received}", reason=Reason.BAD_TIME)
                if price is not None:
                    check_number(price, "price")
                if volume is not None:
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
            rows.append(RecordRow(message, record, line, received, trade))
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
