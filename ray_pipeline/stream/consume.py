"""
Move records from Kafka into Postgres and Redis, each once.

Postgres decides: a batch's rows and its offset commit together, so a crash on either side repeats
nothing and loses nothing. Redis follows from the same batch at the same time and never waits for
Postgres, nor Postgres for it; what it misses in an outage is rebuilt from Postgres.
"""

import asyncio
import contextlib
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Generic, Protocol, TypeVar

from ray_pipeline.errors import (
    BrokerUnavailable,
    CacheUnavailable,
    DatabaseUnavailable,
    LogReplaced,
)
from ray_pipeline.feeds.layout import Layout
from ray_pipeline.feeds.records import Record
from ray_pipeline.stream.bars import BarKey
from ray_pipeline.stream.batch import Message, Prepared, Preparer, Rules, ShardEpoch
from ray_pipeline.stream.cache import Entry, LatestBuffer
from ray_pipeline.stream.sequence import Arrivals, RangeSet

log = logging.getLogger(__name__)

T = TypeVar("T", bound=Record)

RETRY_FIRST_S = 0.1
RETRY_LAST_S = 5.0
REDIS_PAUSE_S = 0.5
POLL_S = 0.2
# Small: between two slices the last batch goes on to Postgres, which would wait otherwise.
DECODE_SLICE = 100
KEPT_LATENCIES = 1_000  # until somebody reads them


class Log(Protocol):
    """The partitions of a topic that this consumer owns."""

    async def poll(self, *, timeout_s: float, max_records: int) -> Sequence[Message]:
        """Return what is there, in order within a partition; wait for the first record."""

    def lag(self) -> Mapping[int, int]:
        """Return how many records each partition still holds for us."""


class HistoryStore(Protocol[T]):
    """Where history is kept."""

    async def put(self, batch: Prepared[T], epochs: Mapping[int, int]) -> None:
        """Store a batch and its offsets, all or nothing."""


class Cache(Protocol):
    """Where latest values are kept."""

    async def write(self, entries: Sequence[Entry]) -> bool:
        """Write entries forward in time; False if the cache had lost its data before."""

    async def publish(self, text: str) -> bool:
        """Wake the clients, unless that happened a moment ago."""


Rebuild = Callable[[Cache, float], Awaitable[int]]
"""Write into the cache what Postgres has, realtime values since a Unix time; return how many."""


@dataclass(slots=True)
class ConsumerStatus:
    """What a consumer says of itself."""

    state: str = "starting"
    cause: str = ""
    redis_state: str = "starting"
    stored: int = 0
    parked: int = 0
    redelivered: int = 0
    batches: int = 0
    lag: dict[int, int] = field(default_factory=dict)
    offsets: dict[int, int] = field(default_factory=dict)
    last_stored_at_s: float = 0.0
    latencies_ms: deque[float] = field(default_factory=lambda: deque(maxlen=KEPT_LATENCIES))


class CacheWriter:
    """Keeps the cache up with the stream, and rebuilds it after an outage."""

    def __init__(
        self, cache: Cache, rebuild: Rebuild, status: ConsumerStatus, *, clock: Callable[[], float]
    ) -> None:
        self._cache = cache
        self._rebuild = rebuild
        self._status = status
        self._clock = clock
        self._buffer = LatestBuffer()
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._changed: set[str] = set()
        self._fresh_at_s = 0.0  # Unix time up to which the cache is known to be complete
        self._whole = False
        self._writing = False

    def offer(self, entries: Sequence[Entry]) -> None:
        """Take entries; returns at once."""
        self._buffer.add(entries)
        self._idle.clear()
        self._wake.set()

    async def run(self) -> None:
        """Write until cancelled; an outage is waited out."""
        pause_s = RETRY_FIRST_S
        while True:
            try:
                await self._step()
                pause_s = RETRY_FIRST_S
            except (CacheUnavailable, DatabaseUnavailable) as error:
                self._whole = False
                self._set_state(f"waiting: {error}")
                await asyncio.sleep(pause_s)
                pause_s = min(pause_s * 2, RETRY_LAST_S)

    @property
    def written(self) -> bool:
        """Whether everything offered is written; its clients may still have to be woken."""
        return not len(self._buffer) and not self._writing

    async def drained(self, timeout_s: float) -> bool:
        """Wait until nothing is left to write; False if that takes longer."""
        try:
            await asyncio.wait_for(self._idle.wait(), timeout_s)
        except TimeoutError:
            return False
        return True

    async def _step(self) -> None:
        if not self._whole or self._buffer.overflowed:
            self._buffer.overflowed = False
            self._set_state("rebuilding from postgres")
            await self._rebuild(self._cache, self._fresh_at_s)
            self._whole = True
            self._set_state("writing")
        started_at_s = self._clock()
        if len(self._buffer):
            await self._write()
        self._fresh_at_s = started_at_s
        if self._changed and await self._cache.publish(_update(self._changed)):
            self._changed = set()
        if not len(self._buffer):
            if not self._changed:
                self._idle.set()
            await self._rest()

    async def _rest(self) -> None:
        self._wake.clear()
        # Not `wait_for`: in Python 3.11 it forgets a cancellation that comes as the wait ends.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(REDIS_PAUSE_S):
                await self._wake.wait()

    async def _write(self) -> None:
        entries = self._buffer.cut()
        self._writing = True
        try:
            complete = await self._cache.write(entries)
        except CacheUnavailable:
            self._buffer.put_back(entries)
            raise
        finally:
            self._writing = False
        self._changed.update(entry.symbol for entry in entries)
        if not complete:
            self._whole = False

    def _set_state(self, state: str) -> None:
        if self._status.redis_state != state:
            log.log(logging.INFO if state == "writing" else logging.WARNING, "redis: %s", state)
            self._status.redis_state = state


def _update(symbols: set[str]) -> str:
    names = ",".join(f'"{symbol}"' for symbol in sorted(symbols) if '"' not in symbol)
    return f'{{"count":{len(symbols)},"symbols":[{names}]}}'


class Consumer(Generic[T]):
    """Stores one feed's partitions until it is stopped or loses one of them."""

    def __init__(
        self,
        topic: Log,
        store: HistoryStore[T],
        cache: CacheWriter,
        *,
        layout: Layout[T],
        rules: Rules,
        epochs: Mapping[int, int],
        sequences: Mapping[ShardEpoch, RangeSet],
        newest: Mapping[tuple[int, int], int],
        batch_rows: int,
        status: ConsumerStatus,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._topic = topic
        self._store: HistoryStore[T] = store
        self._cache = cache
        self._layout: Layout[T] = layout
        self._epochs = epochs
        self._batch_rows = batch_rows
        self._status = status
        self._clock = clock
        self._news = asyncio.Event()  # a poll has ended, the store is idle, or it is time to stop
        self._idle = False  # whether the store waits for a batch
        self._preparer: Preparer[T] = Preparer(
            layout,
            rules,
            arrivals={owner: Arrivals(ranges) for owner, ranges in sequences.items()},
            newest=newest,
        )

    def holes(self) -> dict[ShardEpoch, list[tuple[int, int]]]:
        """Return what is missing below the highest number of each (shard, epoch)."""
        found = {owner: arrivals.holes() for owner, arrivals in self._preparer.arrivals.items()}
        return {owner: holes for owner, holes in found.items() if holes}

    async def run(self, stop: asyncio.Event) -> None:
        """
        Store what comes until `stop` is set, then finish the batches at hand.

        Reading never waits for Postgres, but for the room of a batch: what comes while the last
        batch is stored goes to Redis at once, and into the next batch.

        Raises:
            OwnershipLost: If another consumer claimed a partition; nothing of ours stayed.
            LogReplaced: If the broker lost its log.
        """
        ready: asyncio.Queue[Prepared[T] | None] = asyncio.Queue(maxsize=1)
        async with asyncio.TaskGroup() as group:
            storing = group.create_task(self._store_all(ready))
            await self._read_all(ready, stop, storing)
            await ready.put(None)

    async def _read_all(
        self,
        ready: "asyncio.Queue[Prepared[T] | None]",
        stop: asyncio.Event,
        storing: "asyncio.Task[None]",
    ) -> None:
        batch = self._preparer.begin()
        stopping = asyncio.create_task(stop.wait())
        stopping.add_done_callback(self._wake)
        polling: asyncio.Task[Sequence[Message]] | None = None
        try:
            while not stop.is_set() and not storing.done():
                if polling is None:
                    polling = asyncio.create_task(self._poll(self._batch_rows - batch.size))
                    polling.add_done_callback(self._wake)
                await self._news.wait()
                self._news.clear()
                if polling.done():
                    messages, polling = polling.result(), None
                    self._status.lag = dict(self._topic.lag())
                    await self._take_in(batch, messages)
                if batch.size and (self._idle or batch.size >= self._batch_rows):
                    batch = await self._hand_over(batch, ready)
        finally:
            stopping.cancel()
            if polling is not None:
                polling.cancel()
        if batch.size:
            await self._hand_over(batch, ready)

    def _wake(self, _: object) -> None:
        self._news.set()

    async def _poll(self, max_records: int) -> Sequence[Message]:
        """Return what comes next; an outage of the broker is waited out."""
        pause_s = RETRY_FIRST_S
        while True:
            try:
                return await self._topic.poll(timeout_s=POLL_S, max_records=max_records)
            except LogReplaced:
                raise
            except BrokerUnavailable as error:
                self._set_state("waiting for kafka", str(error))
                await asyncio.sleep(pause_s)
                pause_s = min(pause_s * 2, RETRY_LAST_S)

    async def _take_in(self, batch: Prepared[T], messages: Sequence[Message]) -> None:
        """Put messages into the open batch, and what is newest of them into the cache."""
        fresh: dict[BarKey, T] = {}
        # In slices, so that the last batch keeps flowing to Postgres meanwhile.
        for start in range(0, len(messages), DECODE_SLICE):
            some = messages[start : start + DECODE_SLICE]
            fresh |= self._preparer.extend(batch, some, now_ms=int(self._clock() * 1000))
            await asyncio.sleep(0)
        if fresh:
            self._cache.offer(self._entries(fresh.items()))

    async def _hand_over(
        self, batch: Prepared[T], ready: "asyncio.Queue[Prepared[T] | None]"
    ) -> Prepared[T]:
        """Give a batch to who stores; return the next one, empty."""
        self._idle = False
        await ready.put(self._preparer.finish(batch))
        return self._preparer.begin()

    async def _store_all(self, ready: "asyncio.Queue[Prepared[T] | None]") -> None:
        while True:
            self._idle = ready.empty()
            self._news.set()
            batch = await ready.get()
            if batch is None:
                return
            await self._put(batch)
            self._status.stored += len(batch.items)
            self._status.parked += len(batch.parked)
            self._status.redelivered += sum(batch.redelivered.values())
            self._status.batches += 1
            self._status.offsets.update(batch.next_offsets)
            self._status.last_stored_at_s = self._clock()
            if batch.items:
                received_s = datetime.fromisoformat(batch.items[0].received).timestamp()
                self._status.latencies_ms.append(
                    (self._status.last_stored_at_s - received_s) * 1000
                )

    async def _put(self, batch: Prepared[T]) -> None:
        pause_s = RETRY_FIRST_S
        while True:
            try:
                await self._store.put(batch, self._epochs)
            except DatabaseUnavailable as error:
                self._set_state("waiting for postgres", str(error))
                await asyncio.sleep(pause_s)
                pause_s = min(pause_s * 2, RETRY_LAST_S)
            else:
                self._set_state("storing", "")
                return

    def _entries(self, newest: Iterable[tuple[BarKey, T]]) -> list[Entry]:
        layout = self._layout
        entries = []
        for (symbol, _), record in newest:
            value = layout.value(record)
            if value is not None:
                entries.append(Entry(symbol, layout.event_ms(record), value))
        return entries

    def _set_state(self, state: str, cause: str) -> None:
        if self._status.state != state:
            level = logging.INFO if state == "storing" else logging.WARNING
            log.log(level, "%s %s", state, cause)
        self._status.state, self._status.cause = state, cause
