"""A consumer between a fake broker, a fake database and a fake cache."""

import asyncio
import contextlib
import time
import zlib
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal

from ray_pipeline.errors import (
    BrokerUnavailable,
    DatabaseUnavailable,
    OwnershipLost,
    PipelineError,
)
from ray_pipeline.feeds import codec
from ray_pipeline.feeds.records import Trade
from ray_pipeline.feeds.sp500 import FEED as SP500
from ray_pipeline.lease import Lease
from ray_pipeline.stream.batch import Message, RecordBatch, ShardEpoch
from ray_pipeline.stream.cache import CacheUsage, LatestValue
from ray_pipeline.stream.consumer_assignment import ConsumerAssignment
from ray_pipeline.stream.consumer_ports import ConsumerBeat, ConsumerPorts, LatestStore, ResumePoint
from ray_pipeline.stream.missing import MissingRange, SequenceNumbers
from ray_pipeline.stream.partition_consumer import PartitionConsumer
from ray_pipeline.stream.sequence import RangeSet
from tests.support import eventually

NOW_MS = int(time.time() * 1000)
TTL_S = 0.03
PATIENCE_S = 5.0


def value(seq: int, *, shard: int = 0, epoch: int = 1, price: str = "1.5") -> bytes:
    """A trade as it travels."""
    return codec.encode(
        Trade("AAPL", Decimal(price), Decimal(1), NOW_MS, epoch, seq, pod_index=shard)
    )


@dataclass
class FakeBroker:
    """One topic; `values` begin at offset `first` of their partition."""

    values: dict[int, list[bytes]] = field(default_factory=lambda: {0: []})
    first: int = 0
    away: str = ""
    silent: set[int] = field(default_factory=set)  # partitions of which it tells nothing

    def check(self) -> None:
        if self.away:
            raise BrokerUnavailable(self.away)


class FakeReader:
    """Reads the fake broker."""

    def __init__(self, broker: FakeBroker) -> None:
        self._broker = broker
        self._next: dict[int, int] = {}

    async def open(self) -> None:
        self._broker.check()

    async def close(self) -> None:
        self._next = {}

    async def partitions(self) -> Sequence[int]:
        return list(self._broker.values)

    async def bounds(self, partitions: Sequence[int]) -> Mapping[int, tuple[int, int]]:
        first = self._broker.first
        return {number: (first, first + len(self._broker.values[number])) for number in partitions}

    async def tail_matches(self, partition: int, next_offset: int, crc: int) -> bool:
        tail = self._broker.values[partition][next_offset - 1 - self._broker.first]
        return zlib.crc32(tail) == crc

    async def start_at(self, offsets: Mapping[int, int]) -> None:
        self._next = dict(offsets)

    async def poll(self, *, timeout_s: float, max_records: int) -> Sequence[Message]:
        await asyncio.sleep(0.001)
        self._broker.check()
        messages: list[Message] = []
        for partition, offset in self._next.items():
            fresh = self._broker.values[partition][offset - self._broker.first :]
            messages += [
                Message(partition, offset + index, NOW_MS, b"AAPL", item)
                for index, item in enumerate(fresh)
            ]
            self._next[partition] = offset + len(fresh)
        return messages

    def lag(self) -> Mapping[int, int]:
        return {number: 0 for number in self._next if number not in self._broker.silent}


@dataclass
class FakeDatabase:
    """What the stores keep."""

    points: dict[int, ResumePoint] = field(default_factory=dict)
    epochs: dict[int, int] = field(default_factory=dict)
    seqs: list[int] = field(default_factory=list)
    beats: list[ConsumerBeat] = field(default_factory=list)
    resets: list[str] = field(default_factory=list)
    missing: list[MissingRange] = field(default_factory=list)
    numbers: SequenceNumbers = field(default_factory=lambda: SequenceNumbers({}, {}, {}))
    away: str = ""
    bug: str = ""

    def check(self) -> None:
        if self.bug:
            raise PipelineError(self.bug)
        if self.away:
            raise DatabaseUnavailable(self.away)


class FakeStore:
    """Stores batches under the newest epoch."""

    def __init__(self, database: FakeDatabase) -> None:
        self._database = database

    async def claim(self, partition: int, epoch: int) -> ResumePoint:
        self._database.check()
        self._database.epochs[partition] = epoch
        return self._database.points.get(partition, ResumePoint(None, None))

    async def rewind(self, partition: int, epoch: int, offset: int) -> None:
        self._database.points[partition] = ResumePoint(offset, None)

    async def sequences(self) -> Mapping[ShardEpoch, RangeSet]:
        return {}

    async def put(self, batch: RecordBatch[Trade], epochs: Mapping[int, int]) -> None:
        self._database.check()
        if any(epochs[number] < self._database.epochs[number] for number in batch.next_offsets):
            raise OwnershipLost("the partition has a newer owner")
        self._database.seqs += [row.record.seq for row in batch.rows]
        for partition, offset in batch.next_offsets.items():
            crc = zlib.crc32(batch.tails[partition])
            self._database.points[partition] = ResumePoint(offset, crc)

    async def close(self) -> None:
        """Nothing is open."""


class FakeRecords:
    """Writes beats and gaps into the fake database."""

    def __init__(self, database: FakeDatabase) -> None:
        self._database = database

    async def write_beats(self, beats: Iterable[ConsumerBeat]) -> None:
        if self._database.away:
            raise DatabaseUnavailable(self._database.away)
        self._database.beats += beats

    async def waiting(self) -> int:
        return 0

    async def read_numbers(self) -> SequenceNumbers:
        return self._database.numbers

    async def write_missing(self, ranges: Iterable[MissingRange], *, cause: str) -> None:
        self._database.missing += ranges

    async def write_reset(self, partition: int, *, cause: str) -> None:
        self._database.resets.append(cause)

    async def close(self) -> None:
        """Nothing is open."""


class FakeLeases:
    """Leases of one process; another process may hold or request them."""

    def __init__(self) -> None:
        self.held: dict[str, Lease] = {}
        self.handovers: list[str] = []
        self.released: list[str] = []
        self.other_holder = False
        self.newer_generation = False
        self.away = ""
        self._epoch = 0

    async def acquire(
        self, resource: str, *, holder: str, generation: int, ttl_s: float
    ) -> Lease | None:
        if self.other_holder or self.newer_generation:
            return None
        self._epoch += 1
        self.held[resource] = Lease(
            resource, holder, generation, self._epoch, time.monotonic() + ttl_s
        )
        return self.held[resource]

    async def renew(self, lease: Lease, *, ttl_s: float) -> Lease:
        if self.away:
            raise DatabaseUnavailable(self.away)
        if self.other_holder:
            raise OwnershipLost("another holder took the lease")
        return replace(lease, deadline_s=time.monotonic() + ttl_s)

    async def release(self, lease: Lease) -> None:
        self.released.append(lease.resource)

    async def request(self, resource: str, *, generation: int, for_s: float) -> None:
        self.handovers.append(resource)

    async def requested(self, lease: Lease) -> bool:
        return self.newer_generation

    async def close(self) -> None:
        """Nothing is open."""


class FakeCache:
    """Keeps what is written."""

    def __init__(self) -> None:
        self.values: list[LatestValue] = []

    async def begin_rebuild(self) -> float:
        return 0.0

    async def write(self, values: Sequence[LatestValue], *, complete_until_s: float) -> CacheUsage:
        self.values += values
        return CacheUsage(0, 0, 0, 0.0)

    async def publish(self, text: str) -> bool:
        return True

    async def close(self) -> None:
        """Nothing is open."""


class FakeReporter:
    """Keeps the last report."""

    def __init__(self) -> None:
        self.offsets: Mapping[int, int] = {}

    async def report(self, offsets: Mapping[int, int]) -> None:
        self.offsets = offsets

    async def close(self) -> None:
        """Nothing is open."""


async def no_rebuild(cache: LatestStore, since_s: float) -> None:
    """The cache is complete."""


async def short_sleep(seconds: float) -> None:
    await asyncio.sleep(0.002)


class Bench:
    """A consumer of partition 0 with fake ports."""

    def __init__(self, *, configured: int = 1, partitions: Sequence[int] = (0,)) -> None:
        self.broker, self.database, self.leases = FakeBroker(), FakeDatabase(), FakeLeases()
        self.cache, self.reporter = FakeCache(), FakeReporter()
        self.records = FakeRecords(self.database)
        assignment = ConsumerAssignment(
            topic="trades",
            partitions=partitions,
            configured=configured,
            holder="test",
            generation=1,
            lease_ttl_s=TTL_S,
            batch_rows=100,
            future_tolerance_ms=300_000,
            drain_s=1.0,
        )
        ports: ConsumerPorts[Trade] = ConsumerPorts(
            reader=lambda: FakeReader(self.broker),
            leases=lambda: self.leases,
            store=lambda: FakeStore(self.database),
            cache=lambda: self.cache,
            reporter=lambda: self.reporter,
            rebuild=no_rebuild,
            records=self.records,
            layout=SP500.layout,
            sleep=short_sleep,
        )
        self.consumer = PartitionConsumer(assignment, ports)

    @property
    def state(self) -> str:
        return self.consumer.status.state

    def publish(self, *seqs: int) -> None:
        """Append trades with these numbers to partition 0."""
        self.broker.values[0] += [value(seq) for seq in seqs]

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run the consumer for the length of a block."""
        task = asyncio.create_task(self.consumer.run())
        try:
            yield
        finally:
            self.consumer.stop()
            await asyncio.wait_for(task, PATIENCE_S)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until a condition holds."""
        await eventually(condition, timeout_s=PATIENCE_S)

    async def stored(self, *seqs: int) -> None:
        """Wait until exactly these numbers are stored."""
        await self.until(lambda: len(self.database.seqs) >= len(seqs))
        assert self.database.seqs == list(seqs)
