"""
Move records from Kafka into Postgres and Redis, each once.

Postgres decides: a batch's rows and its offset commit together, so a crash on either side repeats
nothing and loses nothing. Redis is written from the same batch at the same time and never waits for
Postgres, nor Postgres for Redis; values that Redis misses in an outage are rebuilt from Postgres.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from random import Random
from typing import Generic, TypeVar

from ray_pipeline.errors import BrokerUnavailable, DatabaseUnavailable, LogReplaced
from ray_pipeline.feeds.layout import Layout
from ray_pipeline.feeds.records import Record
from ray_pipeline.retry import Backoff, retrying
from ray_pipeline.stream.bars import BarKey
from ray_pipeline.stream.batch import Message, RecordBatch
from ray_pipeline.stream.batch_builder import BatchBuilder
from ray_pipeline.stream.cache import LatestValue
from ray_pipeline.stream.cache_writer import CacheWriter
from ray_pipeline.stream.consumer_ports import ConsumerStatus, HistoryStore, TopicReader

log = logging.getLogger(__name__)

T = TypeVar("T", bound=Record)

RETRY_FIRST_S = 0.1
RETRY_LAST_S = 5.0
POLL_S = 0.2
STORING = "storing"
WAITING_FOR_BROKER = "waiting for kafka"
WAITING_FOR_POSTGRES = "waiting for postgres"
# Small: between two slices the last batch continues to Postgres, which would wait otherwise.
DECODE_SLICE = 100


class Consumer(Generic[T]):
    """Stores one feed's partitions until it is stopped or loses one of them."""

    def __init__(
        self,
        topic: TopicReader,
        store: HistoryStore[T],
        cache: CacheWriter,
        *,
        layout: Layout[T],
        builder: BatchBuilder[T],
        epochs: Mapping[int, int],
        batch_rows: int,
        status: ConsumerStatus,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._topic = topic
        self._store: HistoryStore[T] = store
        self._cache = cache
        self._layout: Layout[T] = layout
        self._builder: BatchBuilder[T] = builder
        self._epochs = epochs
        self._batch_rows = batch_rows
        self._status = status
        self._clock = clock
        self._poll_backoff, self._put_backoff = _backoff(), _backoff()
        self._wake = asyncio.Event()  # a poll has ended, the store is idle, or it is time to stop
        self._store_idle = False  # whether the store waits for a batch

    async def run(self, stop: asyncio.Event) -> None:
        """
        Store records until `stop` is set, then finish the batches that were read.

        Reading never waits for Postgres, only for room in a batch: records that arrive while the
        last batch is stored go to Redis at once, and into the next batch.

        Raises:
            OwnershipLost: If another consumer claimed a partition; nothing of ours was stored.
            LogReplaced: If the broker lost its log.
        """
        ready: asyncio.Queue[RecordBatch[T] | None] = asyncio.Queue(maxsize=1)
        async with asyncio.TaskGroup() as group:
            storing = group.create_task(self._store_all(ready))
            await self._read_all(ready, stop, storing)
            await ready.put(None)

    async def _read_all(
        self,
        ready: "asyncio.Queue[RecordBatch[T] | None]",
        stop: asyncio.Event,
        storing: "asyncio.Task[None]",
    ) -> None:
        # One task reads and one stores. The reader hands its batch over as soon as the store is
        # idle, so batches are small under little load, when a record must be stored quickly, and
        # grow under much load, when a transaction per record would be too slow.
        batch = self._builder.begin()
        stopping = asyncio.create_task(stop.wait())
        stopping.add_done_callback(self._wake_up)
        polling: asyncio.Task[Sequence[Message]] | None = None
        try:
            while not stop.is_set() and not storing.done():
                if polling is None:
                    polling = asyncio.create_task(self._poll(self._batch_rows - batch.size))
                    polling.add_done_callback(self._wake_up)
                await self._wake.wait()
                self._wake.clear()
                if polling.done():
                    messages, polling = polling.result(), None
                    self._status.lag = dict(self._topic.lag())
                    self._status.read += len(messages)
                    await self._take_in(batch, messages)
                if batch.size and (self._store_idle or batch.size >= self._batch_rows):
                    batch = await self._hand_over(batch, ready)
        finally:
            stopping.cancel()
            if polling is not None:
                polling.cancel()
        if batch.size:
            await self._hand_over(batch, ready)

    def _wake_up(self, _: object) -> None:
        self._wake.set()

    async def _poll(self, max_records: int) -> Sequence[Message]:
        """Return the next records; an outage of the broker is waited out."""

        def failed(error: BrokerUnavailable) -> None:
            if isinstance(error, LogReplaced):
                raise error
            self._set_state(WAITING_FOR_BROKER, str(error))

        messages = await retrying(
            lambda: self._topic.poll(timeout_s=POLL_S, max_records=max_records),
            BrokerUnavailable,
            failed=failed,
            backoff=self._poll_backoff,
        )
        # Without this, a quiet topic would show the outage until its next record.
        if self._status.state == WAITING_FOR_BROKER:
            self._set_state(STORING, "")
        return messages

    async def _take_in(self, batch: RecordBatch[T], messages: Sequence[Message]) -> None:
        """Put messages into the open batch, and the newest of their values into the cache."""
        fresh: dict[BarKey, T] = {}
        # In slices, so that the last batch keeps flowing to Postgres meanwhile.
        for start in range(0, len(messages), DECODE_SLICE):
            part = messages[start : start + DECODE_SLICE]
            fresh |= self._builder.extend(batch, part, now_ms=int(self._clock() * 1000))
            await asyncio.sleep(0)
        if fresh:
            self._cache.offer(self._latest_values(fresh.items()))

    async def _hand_over(
        self, batch: RecordBatch[T], ready: "asyncio.Queue[RecordBatch[T] | None]"
    ) -> RecordBatch[T]:
        """Give a batch to the storing task; return the next one, empty."""
        self._store_idle = False
        await ready.put(self._builder.finish(batch))
        return self._builder.begin()

    async def _store_all(self, ready: "asyncio.Queue[RecordBatch[T] | None]") -> None:
        while True:
            self._store_idle = ready.empty()
            self._wake.set()
            batch = await ready.get()
            if batch is None:
                return
            await self._put(batch)
            self._count(batch)

    async def _put(self, batch: RecordBatch[T]) -> None:
        await retrying(
            lambda: self._store.put(batch, self._epochs),
            DatabaseUnavailable,
            failed=lambda error: self._set_state(WAITING_FOR_POSTGRES, str(error)),
            backoff=self._put_backoff,
        )
        self._set_state(STORING, "")

    def _count(self, batch: RecordBatch[T]) -> None:
        status = self._status
        status.settled += batch.size
        status.stored += len(batch.rows)
        status.parked += len(batch.parked)
        status.redelivered += sum(batch.redelivered.values())
        status.batches += 1
        status.offsets.update(batch.next_offsets)
        status.last_stored_at_s = self._clock()
        if batch.rows:
            received_s = datetime.fromisoformat(batch.rows[0].received).timestamp()
            status.latencies_ms.append((status.last_stored_at_s - received_s) * 1000)

    def _latest_values(self, newest: Iterable[tuple[BarKey, T]]) -> list[LatestValue]:
        layout = self._layout
        values = []
        for (symbol, _), record in newest:
            try:
                value = layout.value(record)
            except Exception:
                # History has the record. Without its latest value, the others are still written.
                log.exception("a record of %s has no latest value", symbol)
                continue
            if value is not None:
                values.append(LatestValue(symbol, layout.event_ms(record), value))
        return values

    def _set_state(self, state: str, cause: str) -> None:
        if self._status.state != state:
            level = logging.INFO if state == STORING else logging.WARNING
            log.log(level, "%s %s", state, cause)
        self._status.enter(state, cause)


def _backoff() -> Backoff:
    return Backoff(base_s=RETRY_FIRST_S, cap_s=RETRY_LAST_S, random=Random())
