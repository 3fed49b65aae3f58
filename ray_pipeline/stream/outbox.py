"""
The outbox: every record reaches the broker, in order, or waits on disk until it can.

Records are sent in rounds. One round is in flight at a time, and takes all records that wait: under
little load a record leaves at once, and under much load the rounds grow. A round that fails is sent
again unchanged; the numbers in the records let the reader drop repeats.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from datetime import datetime

from ray_pipeline.errors import PipelineError
from ray_pipeline.feeds.codec import encode
from ray_pipeline.feeds.records import Record, from_ms, to_ms
from ray_pipeline.stream.outbox_port import OutboxStatus
from ray_pipeline.stream.publishing_ports import Broker, OutboxClock, OutboxRecord, SpoolPort
from ray_pipeline.stream.record_queue import RecordQueue
from ray_pipeline.stream.round_sender import RoundSender
from ray_pipeline.stream.unkept_records import UnkeptRecords

log = logging.getLogger(__name__)

AWAY_S = 1.0  # how long the broker may be silent before records are spooled
RETRY_S = 0.2
LEASE_POLL_S = 0.1
POLL_S = 0.02
SPOOL_EVERY_S = 0.1  # each append waits for the disk, so appends must be few
FULL_RETRY_S = 1.0
CLOSED = "the lease is not valid"


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
        self._shard = shard
        self._epoch = epoch
        self._may_send = may_send
        self._clock = clock
        self._name = name or f"{topic}-{shard}"
        self._sender = RoundSender(
            broker,
            topic=topic,
            partition=partition,
            shard=shard,
            may_send=may_send,
            name=self._name,
        )
        self._queue = RecordQueue(spool)
        self._sending: asyncio.Task[bool] | None = None
        self._unkept: UnkeptRecords | None = None
        self._last_seq = 0
        self._published = 0
        self._cause = ""
        # Since when records wait without any acknowledgement; None after an acknowledgement.
        self._waiting_since_s: float | None = None
        self._retry_at_s = 0.0
        self._spool_at_s = 0.0
        self._wake = asyncio.Event()
        self._progress = asyncio.Event()

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
        if self._unkept is not None or (self._queue.full and self._queue.is_long()):
            self._drop(received_at)
            return
        self._take(key, record, received_at=received_at)

    def status(self) -> OutboxStatus:
        """Return the status. Records of older epochs count as spooled, never as published."""
        return OutboxStatus(
            published=self._published,
            pending=self._queue.pending,
            spooled=self._queue.spooled,
            safe_at=self._safe_at(),
            cause=self._queue.full or self._cause,
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
        self._queue.memory.append(taken)
        # The end of a round in flight wakes `run`; until then, records join the next round.
        if self._sending is None:
            self._wake.set()

    def _drop(self, received_at: datetime) -> None:
        if self._unkept is None:
            full = self._queue.full
            log.error("%s: records are dropped: %s", self._name, full)
            self._unkept = UnkeptRecords(received_at, received_at, full)
        self._unkept.add(received_at)

    def _report_unkept(self) -> None:
        """Put a gap record for the dropped records in the position where they would have been."""
        unkept, self._unkept = self._unkept, None
        if unkept is not None:
            now = self._clock.now()
            gap = unkept.gap(epoch=self._epoch, seq=self.next_seq(), shard=self._shard, now=now)
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
            self._spool_some(now_s)
        if self._unkept is not None and self._queue.has_room():
            self._report_unkept()

    def _start(self, now_s: float) -> None:
        if self._waiting_since_s is None:
            self._waiting_since_s = now_s
        if not self._may_send():
            self._note(CLOSED)
            self._retry_at_s = now_s + LEASE_POLL_S
            return
        self._sending = asyncio.create_task(self._sender.send(self._queue.next_round().records))
        self._sending.add_done_callback(lambda _: self._wake.set())

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
        round_ = self._queue.settle()
        if round_ is None:
            return
        if round_.spooled:
            self._spool_at_s = 0.0
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
        return (away or self._queue.must_spool()) and now_s >= self._spool_at_s

    def _spool_some(self, now_s: float) -> None:
        if not self._queue.pending:
            return
        moved = self._queue.spool_some()
        self._spool_at_s = now_s + (FULL_RETRY_S if self._queue.full else SPOOL_EVERY_S)
        if moved:
            self._progress.set()

    def _spool_all(self) -> None:
        """Move all records in memory to disk, as far as there is room."""
        self._report_unkept()
        while self._queue.pending:
            self._spool_some(self._clock.monotonic_s())
            if self._queue.full:
                break
        if left := len(self._queue.memory):
            log.error(
                "%s: %d records do not fit on the disk: %s", self._name, left, self._queue.full
            )

    # Status

    def _waits(self) -> bool:
        return bool(self._queue) or self._unkept is not None

    def _safe_at(self) -> datetime | None:
        oldest_ms = self._queue.oldest_ms
        waiting = [] if oldest_ms is None else [from_ms(oldest_ms)]
        if self._unkept is not None:
            waiting.append(self._unkept.from_at)
        if waiting:
            return min(waiting)
        return self._clock.now() if self._last_seq else None
