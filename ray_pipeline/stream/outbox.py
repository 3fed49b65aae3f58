"""
The outbox: every record that is put reaches the broker, in order, or waits on disk until it can.

Rounds: one is in flight at a time, and it takes all that waits, so that under little load a record
leaves at once and under much load the rounds grow. A round that fails is sent again as it is; the
numbers in the records let the reader drop what arrives twice.

The spool, where it is not empty, is always ahead of what is in memory. While records come out of
it faster than they come in it empties, and the last of them go directly again.
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

from ray_pipeline.errors import PipelineError, RecordTooLarge, SpoolFull
from ray_pipeline.feeds.codec import encode
from ray_pipeline.feeds.feed import partition_of
from ray_pipeline.feeds.records import REJECT_LIMIT_BYTES, Gap, Record, Reject, from_ms, to_ms
from ray_pipeline.stream.outbox_port import OutboxStatus

log = logging.getLogger(__name__)

ROUND_RECORDS = 5_000
MEMORY_RECORDS = 50_000
AWAY_S = 1.0  # how long the broker may be silent before records go to disk
RETRY_S = 0.2
GATE_POLL_S = 0.1
POLL_S = 0.02
SPOOL_RECORDS = 10_000
SPOOL_EVERY_S = 0.1  # each append waits for the disk, so they must not be many
FULL_RETRY_S = 1.0
KEY_LIMIT_BYTES = 256
CLOSED = "the lease is not valid"
LEAST_BYTES = 2_048  # a broker that refuses even this has a wrong setting


@dataclass(frozen=True, slots=True)
class Entry:
    """One numbered record as it travels, and when it was received, in ms since the epoch."""

    epoch: int
    seq: int
    received_ms: int
    key: bytes
    value: bytes


class Broker(Protocol):
    """Where records go."""

    async def partitions(self, topic: str) -> int:
        """Return how many partitions a topic has; BrokerUnavailable when it cannot be asked."""

    async def send(self, topic: str, messages: Sequence[tuple[int, bytes, bytes]]) -> None:
        """
        Send (partition, key, value) in order and return when all are acknowledged.

        Raises:
            RecordTooLarge: If the one at its index can never be sent.
            BrokerUnavailable: If any may be missing.
        """


class Spool(Protocol):
    """Where records wait: a queue that outlives the process."""

    def __len__(self) -> int:
        """Return how many records are not acknowledged."""

    def append(self, records: Sequence[Entry]) -> None:
        """Put records at the end, all or, with SpoolFull, none."""

    def read(self, limit: int) -> list[Entry]:
        """Return the oldest records, in order, without removing them."""

    def acknowledge(self, count: int) -> None:
        """Remove the oldest records."""


class Clock(Protocol):
    """The time, twice: what happened when, and how long it took."""

    @property
    def now(self) -> Callable[[], datetime]:
        """Return the moment."""

    @property
    def monotonic_s(self) -> Callable[[], float]:
        """Return seconds since some beginning."""


@dataclass(slots=True)
class _Round:
    """What is being sent. Spooled: these are the first records of the spool."""

    entries: list[Entry]
    spooled: bool


@dataclass(slots=True)
class _Loss:
    """Records that were not kept because the disk was full."""

    from_at: datetime
    to_at: datetime
    count: int
    cause: str


class Publisher:
    """Implements `ports.Outbox`: numbers records from 1 in its epoch, brings them to a broker."""

    def __init__(
        self,
        broker: Broker,
        spool: Spool,
        *,
        topic: str,
        shard: int,
        epoch: int,
        gate: Callable[[], bool],
        clock: Clock,
        name: str = "",
    ) -> None:
        """
        Make an outbox for one epoch of one shard.

        Args:
            gate: Whether anything may be sent now: the lease is valid.
            name: Key of the notices it writes itself; by default the topic and the shard.
        """
        self._broker = broker
        self._spool = spool
        self._topic = topic
        self._shard = shard
        self._epoch = epoch
        self._gate = gate
        self._clock = clock
        self._name = name or f"{topic}-{shard}"
        self._memory: deque[Entry] = deque()
        self._round: _Round | None = None
        self._sending: asyncio.Task[bool] | None = None
        self._loss: _Loss | None = None
        self._last_seq = 0
        self._published = 0
        self._cause = ""
        self._full = ""
        # Since when nothing was acknowledged although something waits; None while all is well.
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

        With the disk full and the memory too it is not kept, its number is used again, and a gap
        record says so when there is room.
        """
        full = bool(self._full) and len(self._memory) >= MEMORY_RECORDS
        if full or self._loss is not None:
            self._lose(received_at)
            return
        self._take(key, record, received_at=received_at)

    def status(self) -> OutboxStatus:
        """Return where it stands. Old epochs' records count as spooled, never as published."""
        in_flight = len(self._round.entries) if self._round and not self._round.spooled else 0
        return OutboxStatus(
            published=self._published,
            pending=len(self._memory) + in_flight,
            spooled=len(self._spool),
            safe_at=self._safe_at(),
            cause=self._full or self._cause,
        )

    async def run(self, stop: asyncio.Event) -> None:
        """
        Bring records to the broker until `stop` is set; every outage is waited out.

        What is not acknowledged when it ends, by `stop` or cancelled, is left in the spool.
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
            self._leave()

    async def drain(self, timeout_s: float) -> bool:
        """
        Wait until everything put is acknowledged, while `run` runs.

        Returns:
            Whether it is. If not, what is left was written to the spool, as far as it has room.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                while self._waits():
                    self._progress.clear()
                    await self._progress.wait()
        if self._waits():
            self._leave()
            return False
        return True

    # Taking

    def _take(self, key: str, record: Record, *, received_at: datetime) -> None:
        value = encode(record)
        self._last_seq += 1
        self._memory.append(
            Entry(self._epoch, self._last_seq, to_ms(received_at), key.encode(), value)
        )
        # A round in flight wakes it by itself; records that come meanwhile go with the next one.
        if self._sending is None:
            self._wake.set()

    def _lose(self, received_at: datetime) -> None:
        if self._loss is None:
            log.error("%s: records are lost: %s", self._name, self._full)
            self._loss = _Loss(received_at, received_at, 0, self._full)
        self._loss.to_at = max(self._loss.to_at, received_at)
        self._loss.count += 1

    def _end_loss(self) -> None:
        """Say what was not kept, in the place where it would have been."""
        loss, self._loss = self._loss, None
        if loss is None:
            return
        now = self._clock.now()
        gap = Gap(
            epoch=self._epoch,
            seq=self.next_seq(),
            pod_index=self._shard,
            gap_kind="spool_full",
            cause=f"{loss.count} records were not kept: {loss.cause}",
            from_at=loss.from_at,
            to_at=loss.to_at,
            created_at=now,
        )
        self._take(self._name, gap, received_at=now)

    # Sending

    def _step(self) -> None:
        """Finish a round, start one, move to disk what must wait. Nothing here waits."""
        if self._sending is not None and self._sending.done():
            self._finish(self._sending)
        now_s = self._clock.monotonic_s()
        if self._sending is None and self._waits() and now_s >= self._retry_at_s:
            self._start(now_s)
        if self._must_spool(now_s):
            self._spool_memory(now_s)
        if self._loss is not None and not self._full and len(self._memory) < MEMORY_RECORDS // 2:
            self._end_loss()

    def _start(self, now_s: float) -> None:
        if self._waiting_since_s is None:
            self._waiting_since_s = now_s
        if not self._gate():
            self._note(CLOSED)
            self._retry_at_s = now_s + GATE_POLL_S
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
        """Send a round and return True when it is acknowledged; False when the gate closed."""
        partition = partition_of(self._shard, await self._broker.partitions(self._topic))
        while True:
            messages = [(partition, entry.key, entry.value) for entry in round_.entries]
            # Connecting may take long; the lease may have ended meanwhile.
            if not self._gate():
                return False
            try:
                await self._broker.send(self._topic, messages)
                return True
            except RecordTooLarge as error:
                entry = round_.entries[error.index]
                if len(entry.value) + len(entry.key) < LEAST_BYTES:
                    raise
                log.warning("%s/%d: %s", self._name, entry.seq, error)
                round_.entries[error.index] = self._rejected(entry, str(error))

    def _rejected(self, entry: Entry, detail: str) -> Entry:
        """Return what is sent in place of a record that is too large, with the same number."""
        # JSON may need six bytes for one: an eighth is always smaller than what was refused.
        limit = min(REJECT_LIMIT_BYTES // 4, len(entry.value) // 8)
        reject = Reject(
            epoch=entry.epoch,
            seq=entry.seq,
            pod_index=self._shard,
            reason="too_large",
            detail=detail,
            payload=entry.value[:limit].decode(errors="ignore"),
            size_bytes=len(entry.value),
            created_at=from_ms(entry.received_ms),
        )
        return replace(entry, key=entry.key[:KEY_LIMIT_BYTES], value=encode(reject))

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
        """The round in flight was acknowledged: forget it."""
        round_, self._round = self._round, None
        if round_ is None:
            return
        if round_.spooled:
            self._spool.acknowledge(len(round_.entries))
            self._spooled_from_ms = round_.entries[-1].received_ms if len(self._spool) else None
            self._full, self._spool_at_s = "", 0.0
        own = (entry.seq for entry in reversed(round_.entries) if entry.epoch == self._epoch)
        self._published = max(self._published, next(own, 0))
        self._waiting_since_s = None
        self._retry_at_s = 0.0
        self._cause = ""
        self._progress.set()

    def _note(self, cause: str) -> None:
        if cause != self._cause:
            log.warning("%s: %s", self._name, cause)
        self._cause = cause

    async def _abandon_round(self) -> None:
        """Stop sending. Whether the broker has the round is known only if it was done before."""
        sending, self._sending = self._sending, None
        if sending is None:
            return
        sending.cancel()
        result = (await asyncio.gather(sending, return_exceptions=True))[0]
        if result is True:
            self._settle()

    async def _pause(self) -> None:
        """Wait until there is something to do, or to look at again."""
        delayed = self._sending is not None or self._waits()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(POLL_S if delayed else None):
                await self._wake.wait()

    # Keeping on disk

    def _must_spool(self, now_s: float) -> bool:
        since_s = self._waiting_since_s
        away = since_s is not None and now_s - since_s > AWAY_S
        if away and not self._cause:
            self._note("the broker does not acknowledge")
        # Only the last round of the spool may have records in memory behind it: otherwise the
        # spool would never be empty under a steady load.
        in_flight = len(self._round.entries) if self._round and self._round.spooled else 0
        behind = len(self._spool) > in_flight
        return (away or behind or len(self._memory) > MEMORY_RECORDS) and now_s >= self._spool_at_s

    def _spool_memory(self, now_s: float) -> None:
        """Move records to disk, those in flight first; at most SPOOL_RECORDS, which takes ms."""
        ahead = self._round.entries if self._round and not self._round.spooled else []
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

    def _append(self, records: list[Entry], *, least: int) -> int:
        """Append as many as there is room for, halving; return how many, 0 where not `least`."""
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

    def _leave(self) -> None:
        """Put all that is in memory on disk, as far as there is room."""
        self._end_loss()
        while self._memory or (self._round and not self._round.spooled):
            self._spool_memory(self._clock.monotonic_s())
            if self._full:
                break
        left = len(self._memory)
        if left:
            log.error("%s: %d records found no room on disk: %s", self._name, left, self._full)

    # Standing

    def _waits(self) -> bool:
        return bool(self._memory or self._round or len(self._spool) or self._loss)

    def _first_spooled_ms(self) -> int | None:
        first = self._spool.read(1)
        return first[0].received_ms if first else None

    def _safe_at(self) -> datetime | None:
        waiting = []
        if self._loss is not None:
            waiting.append(self._loss.from_at)
        if self._spooled_from_ms is not None:
            waiting.append(from_ms(self._spooled_from_ms))
        elif self._round is not None:
            waiting.append(from_ms(self._round.entries[0].received_ms))
        elif self._memory:
            waiting.append(from_ms(self._memory[0].received_ms))
        if waiting:
            return min(waiting)
        return self._clock.now() if self._last_seq else None
