"""The ports of a consumer: the topic, the history store, the cache, and its own records."""

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

from ray_pipeline.feeds.layout import Layout
from ray_pipeline.feeds.records import Record
from ray_pipeline.lease import LeaseStore
from ray_pipeline.stream.batch import Message, RecordBatch, ShardEpoch
from ray_pipeline.stream.cache import CacheUsage, LatestValue
from ray_pipeline.stream.missing import MissingRange, SequenceNumbers
from ray_pipeline.stream.seen_trades import TickerTrade
from ray_pipeline.stream.sequence import RangeSet

T = TypeVar("T", bound=Record)

KEPT_LATENCIES = 1_000  # until they are reported


class TopicReader(Protocol):
    """A topic of the broker, read by offset. All methods but `close` raise BrokerUnavailable."""

    async def open(self) -> None:
        """Connect."""

    async def close(self) -> None:
        """Disconnect."""

    async def partitions(self) -> Sequence[int]:
        """Return the topic's partitions."""

    async def bounds(self, partitions: Sequence[int]) -> Mapping[int, tuple[int, int]]:
        """Return each partition's first offset and the one after its last."""

    async def tail_matches(self, partition: int, next_offset: int, crc: int) -> bool:
        """Return whether the record before `next_offset` has this checksum."""

    async def start_at(self, offsets: Mapping[int, int]) -> None:
        """Begin reading at these offsets."""

    async def poll(self, *, timeout_s: float, max_records: int) -> Sequence[Message]:
        """
        Return the available records, in order within a partition; wait for the first.

        Raises:
            LogReplaced: If the log lost the next offset of a partition.
        """

    def lag(self) -> Mapping[int, int]:
        """Return how many unread records each partition holds."""


@dataclass(frozen=True, slots=True)
class ResumePoint:
    """
    Where a partition was stored up to.

    Attributes:
        next_offset: Offset of the next record; None for a partition that was never read.
        tail_crc: CRC-32 of the value before it; None if it is not known.
    """

    next_offset: int | None
    tail_crc: int | None


class HistoryStore(Protocol[T]):
    """
    Where history is kept.

    All methods but `close` raise OwnershipLost if another consumer claimed a partition, and
    DatabaseUnavailable if the database is away.
    """

    async def claim(self, partition: int, epoch: int) -> ResumePoint:
        """Take over a partition under a newer lease; return where it was stored up to."""

    async def rewind(self, partition: int, epoch: int, offset: int) -> None:
        """Set a partition's next offset."""

    async def sequences(self) -> Mapping[ShardEpoch, RangeSet]:
        """Return which numbers are stored, by (shard, epoch)."""

    async def trades(self) -> Sequence[TickerTrade]:
        """Return the newest trades of each symbol, oldest first, for a feed with snapshots."""

    async def put(self, batch: RecordBatch[T], epochs: Mapping[int, int]) -> None:
        """Store a batch and its offsets under the lease epochs: all of it or nothing."""

    async def close(self) -> None:
        """Disconnect."""


class LatestStore(Protocol):
    """Where latest values are written to; all methods raise CacheUnavailable."""

    async def begin_rebuild(self) -> float:
        """
        Become the writer, whatever the cache holds.

        Return the Unix time up to which the cache holds all values; 0 if it does not say.
        """

    async def write(
        self, values: Sequence[LatestValue], *, complete_until_s: float
    ) -> CacheUsage | None:
        """
        Write values forward in time, and the time up to which they are then complete; without
        values, only compare the state.

        Return None, and write nothing, if the cache is not in the state after the last write: it
        lost its data, or was replaced by another or an older copy.
        """

    async def publish(self, text: str) -> bool:
        """Notify the clients; return False if they were notified a moment ago."""

    async def close(self) -> None:
        """Disconnect."""


Rebuild = Callable[[LatestStore, float], Awaitable[None]]
"""
Write history into the cache: the newest values, then those of single seconds from a Unix time on.

The time up to which the cache is complete stays as it is.
"""


@dataclass(frozen=True, slots=True)
class ConsumerBeat:
    """A consumer's state, for one partition."""

    partition: int
    state: str
    cause: str
    lag: int
    redis_state: str
    redis_usage: CacheUsage | None = None


class ConsumerRecords(Protocol):
    """Heartbeats, missing ranges and gaps; all methods but `close` raise DatabaseUnavailable."""

    async def write_beats(self, beats: Iterable[ConsumerBeat]) -> None:
        """Write a consumer's state."""

    async def waiting(self) -> int:
        """Return how many records wait in the topic's partitions, those of others included."""

    async def read_numbers(self) -> SequenceNumbers:
        """Return which numbers arrived, are lost, and were published."""

    async def write_missing(self, ranges: Iterable[MissingRange], *, cause: str) -> None:
        """Write missing ranges as gaps, each once."""

    async def write_reset(self, partition: int, *, cause: str) -> None:
        """Write the gap of a partition of which the broker lost the log."""

    async def close(self) -> None:
        """Disconnect."""


class OffsetReporter(Protocol):
    """Where stored offsets are shown to tools that display a group's lag. It raises nothing."""

    async def report(self, offsets: Mapping[int, int]) -> None:
        """Report the next offset of each partition."""

    async def close(self) -> None:
        """Disconnect."""


@dataclass(slots=True)
class ConsumerStatus:
    """
    What a consumer reports about itself.

    Attributes:
        read: Messages taken from the topic.
        settled: Messages of which a transaction was committed, whatever became of them.
    """

    state: str = "starting"
    cause: str = ""
    redis_state: str = "starting"
    redis_usage: CacheUsage | None = None
    read: int = 0
    settled: int = 0
    stored: int = 0
    parked: int = 0
    redelivered: int = 0
    batches: int = 0
    lag: dict[int, int] = field(default_factory=dict)
    offsets: dict[int, int] = field(default_factory=dict)
    last_stored_at_s: float = 0.0
    latencies_ms: deque[float] = field(default_factory=lambda: deque(maxlen=KEPT_LATENCIES))

    def begin(self) -> None:
        """Begin to store at the stored offsets: messages that were only read come again."""
        self.read = self.settled
        self.enter("storing")

    def enter(self, state: str, cause: str = "") -> None:
        """Set the state and its cause."""
        self.state, self.cause = state, cause


@dataclass(frozen=True, slots=True)
class ConsumerPorts(Generic[T]):
    """
    What a consumer works with. The factories open nothing yet; each tenure calls them once.

    Attributes:
        reader: Makes the reader of the topic.
        leases: Makes the connection for the leases.
        store: Makes the store of the history.
        cache: Makes the connection to the cache.
        reporter: Makes the reporter of stored offsets.
        rebuild: Rebuilds the cache from history.
        records: Heartbeats, missing ranges and gaps.
        layout: How the feed's records become rows.
    """

    reader: Callable[[], TopicReader]
    leases: Callable[[], LeaseStore]
    store: Callable[[], HistoryStore[T]]
    cache: Callable[[], LatestStore]
    reporter: Callable[[], OffsetReporter]
    rebuild: Rebuild
    records: ConsumerRecords
    layout: Layout[T]
    clock: Callable[[], float] = time.time
    monotonic_s: Callable[[], float] = time.monotonic
    sleep: Callable[[float], Coroutine[object, object, None]] = asyncio.sleep
