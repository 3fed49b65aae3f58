"""
The outbox: every record reaches the broker, in order, or waits on disk until it can.

Records are sent in rounds. One round is in flight at a time, and takes all records that wait: under
little load a record leaves at once, and under much load the rounds grow. A round that fails is sent
again unchanged; the numbers in the records let the reader drop repeats.

Records in the spool are always older than those in memory and are sent first. While the broker
takes records faster than they arrive, the spool empties, and new records bypass it again.
"""

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import islice
from typing import Protocol

from ray_pipeline.dead_letter_reasons import Reason
from ray_pipeline.errors import PipelineError, RecordTooLarge, SpoolFull
from ray_pipeline.feeds.codec import encode
from ray_pipeline.feeds.records import REJECT_LIMIT_BYTES, Gap, Record, Reject, from_ms, to_ms
from ray_pipeline.stream.outbox_port import OutboxStatus

log = logging.getLogger(__name__)

ROUND_RECORDS = 5_000
MEMORY_RECORDS = 50_000
AWAY_S = 1.0  # how long the broker may be silent before records are spooled
RETRY_S = 0.2
LEASE_POLL_S = 0.1
POLL_S = 0.02
SPOOL_RECORDS = 10_000
SPOOL_EVERY_S = 0.1  # each append waits for the disk, so appends must be few
FULL_RETRY_S = 1.0
KEY_LIMIT_BYTES = 256
CLOSED = "the lease is not valid"
LEAST_BYTES = 2_048  # a broker that refuses smaller records has a wrong setting


@dataclass(frozen=True, slots=True)
class OutboxRecord:
    """One numbered record as it is sent, and when it was received, in ms since 1970."""

    epoch: int
    seq: int
    received_ms: int
    key: bytes
    value: bytes


class Broker(Protocol):
    """Where records go."""

    async def send(self, topic: str, messages: Sequence[tuple[int, bytes, bytes]]) -> None:
        """
        Send (partition, key, value) in order and return when all are acknowledged.

        Raises:
            RecordTooLarge: If the record at the error's index can never be sent.
            BrokerUnavailable: If any may be missing.
        """


class SpoolPort(Protocol):
    """A queue of records on disk."""

    def __len__(self) -> int:
        """Return how many records are not acknowledged."""

    def append(self, records: Sequence[OutboxRecord]) -> None:
        """Append all records; raise SpoolFull and append nothing if the limit forbids it."""

    def read(self, limit: int) -> list[OutboxRecord]:
        """Return the oldest records, in order, without removing them."""

    def acknowledge(self, count: int) -> None:
        """Remove the oldest records."""


class OutboxClock(Protocol):
    """The time of day, and a clock for intervals."""

    @property
    def now(self) -> Callable[[], datetime]:
        """Return the current time in UTC."""

    @property
    def monotonic_s(self) -> Callable[[], float]:
        """Return seconds since an arbitrary moment; they never go back."""


@dataclass(slots=True)
class _Round:
    """The records that are being sent; `spooled` if they are the first records of the spool."""

    records: list[OutboxRecord]
    spooled: bool


@dataclass(slots=True)
class _UnkeptRecords:
    """Records that were dropped because memory and disk were full."""

    from_at: datetime
    to_at: datetime
    count: int
    cause: str


class Publisher:
    """Implements `outbox_port.OutboxPort`: numbers records from 1 in its epoch and sends them."""

    def __init__(
        self,
        broker: Broker,
        spool: SpoolPort,
        *,
        topic: str,
        partition: int,
        shard: int,
        epoch: int,
        may_send: Callable[[], bool],
        clock: OutboxClock,
        name: str = "",
    ) -> None:
        """
        Open the outbox of one epoch of one shard.

        Args:
            partition: The partition of the topic that carries the shard.
            may_send: Returns whether records may be sent now: the lease is valid.
            name: Key of its own notices; by default the topic and the shard.
        """
        self._broker = broker
        self._spool = spool
        self._topic = topic
        self._partition = partition
        self._shard = shard
        self._epoch = epoch
        self._may_send = may_send
        self._clock = clock
        self._name = name or f"{topic}-{shard}"
        self._memory: deque[OutboxRecord] = deque()
        self._round: _Round | None = None
        self._sending: asyncio.Task[bool] | None = None
        self._unkept: _UnkeptRecords | None = None
        self._last_seq = 0
        self._published = 0
        self._cause = ""
        self._full = ""
        # Since when records wait without any acknowledgement; None after an acknowledgement.
        self._waiting_since_s: float | None = None
        self._retry_at_s = 0.0
        self._spool_at_s = 0.0
        self._wake = asyncio.Event()
        self._progress = asyncio.Event()
        self._spooled_from_ms = self._first_spooled_ms()

    @property
    def epoch(self) -> int:
        """The epoch of the lease under which the records are numbered."""
        return self._epoch

    def next_seq(self) -> int:
        """Return the number that the next record must carry."""
        return self._last_seq + 1

    def put(self, key: str, record: Record, *, received_at: datetime) -> None:
        """
        Take one record that carries this epoch and `next_seq()`. It never blocks.

        If both disk and memory are full, the record is dropped and its number used again. As soon
        as there is room, a gap record reports the time of the dropped records.
        """
        full = bool(self._full) and len(self._memory) >= MEMORY_RECORDS
        if full or self._unkept is not None:
            self._drop(received_at)
            return
        self._take(key, record, received_at=received_at)

    def status(self) -> OutboxStatus:
        """Return the status. Records of older epochs count as spooled, never as published."""
        in_flight = len(self._round.records) if self._round and not self._round.spooled else 0
        return OutboxStatus(
            published=self._published,
            pending=len(self._memory) + in_flight,
            spooled=len(self._spool),
            safe_at=self._safe_at(),
            cause=self._full or self._cause,
        )

    async def run(self, stop: asyncio.Event) -> None:
        """
        Send records until `stop` is set; every outage is waited out.

        When it ends, by `stop` or cancelled, records that are not acknowledged stay in the spool.
        """
        stopping = asyncio.create_task(stop.wait())
        stopping.add_done_callback(lambda _: self._wake.set())
        try:
            while not stop.is_set():
                self._wake.clear()
                self._step()
                await self._pause()
        finally:
            stopping.cancel()
            await self._abandon_round()
            self._spool_all()

    async def drain(self, timeout_s: float) -> bool:
        """
        Wait until everything put is acknowledged, while `run` runs.

        Returns:
            Whether it is. If not, the remaining records were spooled as far as there is room.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                while self._waits():
                    self._progress.clear()
                    await self._progress.wait()
        if self._waits():
            self._spool_all()
            return False
        return True

    # Accepting records

    def _take(self, key: str, record: Record, *, received_at: datetime) -> None:
        # All that can fail comes before the number is used; a number without a record is a loss.
        seq, received_ms = self._last_seq + 1, to_ms(received_at)
        taken = OutboxRecord(self._epoch, seq, received_ms, key.encode(), encode(record))
        self._last_seq = seq
        self._memory.append(taken)
        # The end of a round in flight wakes `run`; until then, records join the next round.
        if self._sending is None:
            self._wake.set()

    def _drop(self, received_at: datetime) -> None:
        if self._unkept is None:
            log.error("%s: records are dropped: %s", self._name, self._full)
            self._unkept = _UnkeptRecords(received_at, received_at, 0, self._full)
        self._unkept.to_at = max(self._unkept.to_at, received_at)
        self._unkept.count += 1

    def _report_unkept(self) -> None:
        """Put a gap record for the dropped records in the position where they would have been."""
        unkept, self._unkept = self._unkept, None
        if unkept is None:
            return
        now = self._clock.now()
        gap = Gap(
            epoch=self._epoch,
            seq=self.next_seq(),
            pod_index=self._shard,
            gap_kind="spool_full",
            cause=f"{unkept.count} records were not kept: {unkept.cause}",
            from_at=unkept.from_at,
            to_at=unkept.to_at,
            created_at=now,
        )
        self._take(self._name, gap, received_at=now)

    # Sending

    def _step(self) -> None:
        """Finish a round, start the next, spool records that must wait. It does not block."""
        if self._sending is not None and self._sending.done():
            self._finish(self._sending)
        now_s = self._clock.monotonic_s()
        if self._sending is None and self._waits() and now_s >= self._retry_at_s:
            self._start(now_s)
        if self._must_spool(now_s):
            self._spool_memory(now_s)
        if self._unkept is not None and not self._full and len(self._memory) < MEMORY_RECORDS // 2:
            self._report_unkept()

    def _start(self, now_s: float) -> None:
        if self._waiting_since_s is None:
            self._waiting_since_s = now_s
        if not self._may_send():
            self._note(CLOSED)
            self._retry_at_s = now_s + LEASE_POLL_S
            return
        if self._round is None:
            self._round = self._next_round()
        self._sending = asyncio.create_task(self._send(self._round))
        self._sending.add_done_callback(lambda _: self._wake.set())

    def _next_round(self) -> _Round:
        if len(self._spool):
            return _Round(self._spool.read(ROUND_RECORDS), spooled=True)
        count = min(ROUND_RECORDS, len(self._memory))
        return _Round([self._memory.popleft() for _ in range(count)], spooled=False)

    async def _send(self, round_: _Round) -> bool:
        """Send a round; return True when it is acknowledged, False if the lease became invalid."""
        while True:
            messages = [(self._partition, record.key, record.value) for record in round_.records]
            # Connecting takes long at times; the lease may have expired meanwhile.
            if not self._may_send():
                return False
            try:
                await self._broker.send(self._topic, messages)
                return True
            except RecordTooLarge as error:
                record = round_.records[error.index]
                if len(record.value) + len(record.key) < LEAST_BYTES:
                    raise
                log.warning("%s/%d: %s", self._name, record.seq, error)
                round_.records[error.index] = self._rejected(record, str(error))

    def _rejected(self, record: OutboxRecord, detail: str) -> OutboxRecord:
        """Return the reject that replaces a record that is too large, with the same number."""
        # JSON may escape one byte as six: an eighth is always smaller than the refused record.
        limit = min(REJECT_LIMIT_BYTES // 4, len(record.value) // 8)
        reject = Reject(
            epoch=record.epoch,
            seq=record.seq,
            pod_index=self._shard,
            reason=Reason.TOO_LARGE,
            detail=detail,
            payload=record.value[:limit].decode(errors="ignore"),
            size_bytes=len(record.value),
            created_at=from_ms(record.received_ms),
        )
        return replace(record, key=record.key[:KEY_LIMIT_BYTES], value=encode(reject))

    def _finish(self, sending: "asyncio.Task[bool]") -> None:
        self._sending = None
        error = sending.exception()
        if error is None and sending.result():
            self._settle()
            return
        if error is not None and not isinstance(error, PipelineError):
            raise error
        self._note(str(error) if error else CLOSED)
        self._retry_at_s = self._clock.monotonic_s() + RETRY_S

    def _settle(self) -> None:
        """Forget the round in flight: it was acknowledged."""
        round_, self._round = self._round, None
        if round_ is None:
            return
        if round_.spooled:
            self._spool.acknowledge(len(round_.records))
            self._spooled_from_ms = round_.records[-1].received_ms if len(self._spool) else None
            self._full, self._spool_at_s = "", 0.0
        seqs = (record.seq for record in reversed(round_.records) if record.epoch == self._epoch)
        self._published = max(self._published, next(seqs, 0))
        self._waiting_since_s = None
        self._retry_at_s = 0.0
        self._cause = ""
        self._progress.set()

    def _note(self, cause: str) -> None:
        if cause != self._cause:
            log.warning("%s: %s", self._name, cause)
        self._cause = cause

    async def _abandon_round(self) -> None:
        """Stop sending. Unless the round was done already, the broker may or may not have it."""
        sending, self._sending = self._sending, None
        if sending is None:
            return
        sending.cancel()
        result = (await asyncio.gather(sending, return_exceptions=True))[0]
        if result is True:
            self._settle()

    async def _pause(self) -> None:
        """Wait until there is something to do, or a state to check again."""
        delayed = self._sending is not None or self._waits()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(POLL_S if delayed else None):
                await self._wake.wait()

    # Spooling

    def _must_spool(self, now_s: float) -> bool:
        since_s = self._waiting_since_s
        away = since_s is not None and now_s - since_s > AWAY_S
        if away and not self._cause:
            self._note("the broker does not acknowledge")
        # While the spool holds more than the round in flight, records in memory are spooled, too,
        # to keep the order. The last round is an exception: without it, the spool would never
        # empty under a steady load.
        in_flight = len(self._round.records) if self._round and self._round.spooled else 0
        behind = len(self._spool) > in_flight
        return (away or behind or len(self._memory) > MEMORY_RECORDS) and now_s >= self._spool_at_s

    def _spool_memory(self, now_s: float) -> None:
        """Move at most SPOOL_RECORDS to disk, those in flight first; that takes milliseconds."""
        ahead = self._round.records if self._round and not self._round.spooled else []
        behind = islice(self._memory, max(0, SPOOL_RECORDS - len(ahead)))
        records = [*ahead, *behind]
        if not records:
            return
        moved = self._append(records, least=max(1, len(ahead)))
        self._spool_at_s = now_s + (FULL_RETRY_S if self._full else SPOOL_EVERY_S)
        if not moved:
            return
        if self._round is not None:
            self._round.spooled = True
        for _ in range(moved - len(ahead)):
            self._memory.popleft()
        if self._spooled_from_ms is None:
            self._spooled_from_ms = records[0].received_ms
        self._progress.set()

    def _append(self, records: list[OutboxRecord], *, least: int) -> int:
        """Append as many records as fit, halving; return the count, 0 if it is below `least`."""
        self._full = ""
        size = len(records)
        while size >= least:
            try:
                self._spool.append(records[:size])
                return size
            except SpoolFull as error:
                if not self._full:
                    self._full = str(error)
                size //= 2
        return 0

    def _spool_all(self) -> None:
        """Move all records in memory to disk, as far as there is room."""
        self._report_unkept()
        while self._memory or (self._round and not self._round.spooled):
            self._spool_memory(self._clock.monotonic_s())
            if self._full:
                break
        left = len(self._memory)
        if left:
            log.error("%s: %d records do not fit on the disk: %s", self._name, left, self._full)

    # Status

    def _waits(self) -> bool:
        return bool(self._memory or self._round or len(self._spool) or self._unkept)

    def _first_spooled_ms(self) -> int | None:
        first = self._spool.read(1)
        return first[0].received_ms if first else None

    def _safe_at(self) -> datetime | None:
        waiting = []
        if self._unkept is not None:
            waiting.append(self._unkept.from_at)
        if self._spooled_from_ms is not None:
            waiting.append(from_ms(self._spooled_from_ms))
        elif self._round is not None:
            waiting.append(from_ms(self._round.records[0].received_ms))
        elif self._memory:
            waiting.append(from_ms(self._memory[0].received_ms))
        if waiting:
            return min(waiting)
        return self._clock.now() if self._last_seq else None
