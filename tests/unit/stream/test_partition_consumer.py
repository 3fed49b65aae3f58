"""A consumer of partitions: where it resumes, what interrupts it, and what it waits out."""

import asyncio
import contextlib
import time
import zlib
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal

import pytest

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
from ray_pipeline.stream import consumer_reports
from ray_pipeline.stream.batch import Message, RecordBatch, ShardEpoch
from ray_pipeline.stream.cache import CacheUsage, LatestValue
from ray_pipeline.stream.consumer_assignment import ConsumerAssignment
from ray_pipeline.stream.consumer_ports import ConsumerBeat, ConsumerPorts, LatestStore, ResumePoint
from ray_pipeline.stream.missing import MissingRange, SequenceNumbers
from ray_pipeline.stream.partition_consumer import PartitionConsumer
from ray_pipeline.stream.sequence import RangeSet
from ray_pipeline.tasks import first_cause
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
        return dict.fromkeys(self._next, 0)


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


@pytest.fixture
def bench() -> Bench:
    """A consumer that was not started."""
    return Bench()


async def test_it_resumes_at_the_stored_offset(bench):
    """The records before were stored with the offset."""
    bench.publish(1, 2, 3)
    bench.database.points[0] = ResumePoint(2, zlib.crc32(value(2)))

    async with bench.running():
        await bench.stored(3)

    assert bench.database.resets == []


async def test_a_fresh_partition_starts_at_the_beginning_of_the_log(bench):
    """Offset 0 may be gone already."""
    bench.broker.first = 7
    bench.publish(1, 2)

    async with bench.running():
        await bench.stored(1, 2)

    assert bench.database.points[0].next_offset == 9
    assert bench.database.resets == []


async def test_a_log_that_is_shorter_than_what_was_stored_was_replaced(bench):
    """It becomes a gap, and the new log is read from its beginning."""
    bench.publish(1, 2)
    bench.database.points[0] = ResumePoint(50, 4711)

    async with bench.running():
        await bench.stored(1, 2)

    assert bench.database.resets == ["broker lost the log of trades/0: stored up to 50, log 0..2"]


async def test_a_log_with_another_record_before_the_offset_was_replaced(bench):
    """The bounds are plausible; the checksum of the last stored record is not."""
    bench.publish(1, 2, 3)
    bench.database.points[0] = ResumePoint(2, zlib.crc32(value(99)))

    async with bench.running():
        await bench.stored(1, 2, 3)

    assert bench.database.resets == ["broker lost the log of trades/0: stored up to 2, log 0..3"]


async def test_without_a_record_before_the_offset_the_log_is_taken_for_the_same(bench):
    """The broker has deleted what was stored, which retention does."""
    bench.broker.first = 2
    bench.publish(3)
    bench.database.points[0] = ResumePoint(2, zlib.crc32(value(2)))

    async with bench.running():
        await bench.stored(3)

    assert bench.database.resets == []


async def test_a_stop_stores_what_was_read_and_releases_the_leases(bench):
    """The database is away until after the stop: the batch is still in memory then."""
    async with bench.running():
        await bench.until(lambda: bench.state == "storing")
        bench.database.away = "no database"
        bench.publish(1, 2)
        await bench.until(lambda: bench.state == "waiting for postgres")
        bench.consumer.stop()
        bench.database.away = ""

    assert bench.database.seqs == [1, 2]
    assert [item.value for item in bench.cache.values]
    assert bench.leases.released == ["consumer/trades/0"]
    assert bench.database.beats[-1].state == "stopped"


async def test_a_lost_lease_ends_the_tenure_and_the_next_one_has_a_newer_epoch(bench):
    """Another holder stores the partition meanwhile."""
    bench.publish(1)
    async with bench.running():
        await bench.stored(1)
        first_epoch = bench.database.epochs[0]
        bench.leases.other_holder = True
        await bench.until(lambda: bench.state == "waiting for its partitions")
        bench.publish(2)
        await bench.until(lambda: bench.leases.handovers != [])
        assert bench.database.seqs == [1]

        bench.leases.other_holder = False
        await bench.stored(1, 2)

    assert bench.database.epochs[0] > first_epoch


async def test_a_requested_lease_is_handed_over(bench):
    """A newer generation wants to store the partition."""
    async with bench.running():
        await bench.until(lambda: bench.state == "storing")
        assert bench.leases.released == []
        bench.leases.newer_generation = True
        await bench.until(lambda: bench.leases.released == ["consumer/trades/0"])


async def test_a_partition_claimed_by_another_consumer_is_not_stored(bench):
    """The claim fences the batch, even before the lease is known to be lost."""
    async with bench.running():
        await bench.until(lambda: bench.state == "storing")
        bench.database.epochs[0] = 1_000
        bench.publish(1)
        await bench.until(
            lambda: (
                bench.consumer.status.cause == "the partition has a newer owner"
                or bench.database.epochs[0] < 1_000
            )
        )
        await bench.stored(1)


@pytest.mark.parametrize("place", ["broker", "database"])
async def test_an_outage_at_the_start_is_waited_out_with_its_cause(bench, place):
    """The cause is shown while it lasts, and not after it."""
    side = getattr(bench, place)
    side.away = "it does not answer"
    bench.publish(1)

    async with bench.running():
        await bench.until(lambda: bench.state == "waiting")
        assert bench.consumer.status.cause == "it does not answer"
        if place == "broker":
            assert bench.leases.held == {}
        side.away = ""
        await bench.stored(1)
        await bench.until(lambda: (bench.state, bench.consumer.status.cause) == ("storing", ""))


async def test_an_outage_of_the_broker_while_storing_ends_without_a_record(bench):
    """A quiet topic must not show the outage until its next record."""
    async with bench.running():
        await bench.until(lambda: bench.state == "storing")
        bench.broker.away = "it does not answer"
        await bench.until(lambda: bench.state == "waiting for kafka")
        assert bench.consumer.status.cause == "it does not answer"
        bench.broker.away = ""
        await bench.until(lambda: (bench.state, bench.consumer.status.cause) == ("storing", ""))


async def test_a_pause_releases_the_partitions_until_it_is_resumed(bench):
    """Records wait in the broker."""
    async with bench.running():
        await bench.until(lambda: bench.state == "storing")
        bench.consumer.pause()
        await bench.until(lambda: bench.state == "paused")
        assert bench.leases.released == ["consumer/trades/0"]
        bench.publish(1)
        await asyncio.sleep(TTL_S)
        assert bench.database.seqs == []

        bench.consumer.resume()
        await bench.stored(1)


async def test_a_paused_consumer_can_be_stopped(bench):
    """It takes no lease to do so."""
    bench.consumer.pause()
    async with bench.running():
        await bench.until(lambda: bench.state == "paused")

    assert bench.leases.held == {}
    assert bench.state == "stopped"


async def test_a_range_that_stays_missing_becomes_a_gap(bench, monkeypatch):
    """Only of shards in this consumer's partitions: the others are another consumer's."""
    monkeypatch.setattr(consumer_reports, "MISSING_GRACE_S", 0.0)
    bench = Bench(configured=2)
    bench.broker.values = {0: [], 1: []}
    seen = {(shard, 1): RangeSet([(1, 3), (5, 6)]) for shard in (0, 1, 2)}
    bench.database.numbers = SequenceNumbers(seen, {}, {})

    async with bench.running():
        await bench.until(lambda: len(bench.database.missing) >= 2)

    assert set(bench.database.missing) == {MissingRange(0, 1, 3, 4), MissingRange(2, 1, 3, 4)}


async def test_nothing_is_missing_while_records_wait_in_the_broker(bench, monkeypatch):
    """They may hold the number."""
    monkeypatch.setattr(consumer_reports, "MISSING_GRACE_S", 0.0)
    bench = Bench()
    bench.database.numbers = SequenceNumbers({(0, 1): RangeSet([(2, 3)])}, {}, {})
    bench.broker.away = "it does not answer"

    async with bench.running():
        await asyncio.sleep(0.05)

    assert bench.database.missing == []


async def test_stored_offsets_are_reported(bench):
    """Tools that show a group's lag read them."""
    bench.publish(1, 2)

    async with bench.running():
        await bench.until(lambda: dict(bench.reporter.offsets) == {0: 2})


async def test_an_unexpected_error_ends_the_consumer(bench):
    """The process restarts; waiting would hide a bug. The last heartbeat names it."""
    bench.database.bug = "a bug"

    with pytest.raises(ExceptionGroup) as raised:
        await asyncio.wait_for(bench.consumer.run(), PATIENCE_S)

    assert str(first_cause(raised.value)) == "a bug"
    last = bench.database.beats[-1]
    assert (last.state, last.cause) == ("failed", "PipelineError: a bug; the actor restarts")


@pytest.mark.parametrize("task", ["beats", "numbers", "renewal", "cache", "reporter"])
async def test_a_background_task_that_fails_ends_the_consumer(bench, task):
    """A consumer without it would seem to store, without gaps, heartbeats, a lease or a cache."""

    async def fail(*_args, **_kwargs):
        raise ValueError("a bug")

    async with asyncio.timeout(PATIENCE_S):
        running = asyncio.create_task(bench.consumer.run())
        await bench.until(lambda: bench.state == "storing")
        if task == "beats":
            bench.records.write_beats = fail
        elif task == "numbers":
            bench.records.read_numbers = fail
        elif task == "renewal":
            bench.leases.renew = fail
        elif task == "cache":
            bench.cache.write = fail
            bench.publish(1)
        else:
            bench.reporter.report = fail
        with pytest.raises(ExceptionGroup) as raised:
            await running

    assert str(first_cause(raised.value)) == "a bug"
    assert bench.state == "failed"
    assert bench.leases.released == ["consumer/trades/0"]


async def test_a_lease_that_is_not_renewed_is_shown_also_while_the_topic_is_quiet(bench):
    """A read-only database refuses the renewals; no batch fails, because none arrives."""
    async with bench.running():
        await bench.until(lambda: bench.state == "storing")
        bench.leases.away = "cannot execute UPDATE in a read-only transaction"
        await bench.until(lambda: bench.consumer.situation()[0] == "waiting for postgres")
        assert bench.consumer.situation()[1] == bench.leases.away
        bench.leases.away = ""
        await bench.until(lambda: bench.consumer.situation() == ("storing", ""))


async def test_partitions_beyond_the_settings_are_stored_too(bench):
    """An operator grew the topic, or another program writes with Kafka's own partitioner."""
    bench.broker.values = {0: [value(1)], 1: [value(2)], 2: [value(3)]}

    async with bench.running():
        await bench.until(lambda: len(bench.database.seqs) == 3)

    assert set(bench.database.epochs) == {0, 1, 2}


async def test_a_partition_that_appears_while_the_consumer_stores_is_stored(bench):
    """The tenure ends, and the next one begins with the new partition."""
    bench.broker.values = {0: [value(1)]}

    async with bench.running():
        await bench.until(lambda: bench.database.seqs == [1])
        bench.broker.values[1] = [value(2)]
        await bench.until(lambda: bench.database.seqs == [1, 2])


async def test_a_configured_partition_that_the_topic_lacks_is_reported_absent():
    """Its records cannot exist; a state of storing and a lag of 0 would hide that."""
    bench = Bench(configured=2, partitions=[0, 1])
    bench.broker.values = {0: [value(1)]}

    async with bench.running():
        await bench.until(lambda: bench.database.seqs == [1])
        await bench.until(lambda: any(beat.state == "absent" for beat in bench.database.beats))

    absent = {
        (beat.partition, beat.cause) for beat in bench.database.beats if beat.state == "absent"
    }
    assert absent == {(1, "the topic has 1 of 2 partitions")}


async def test_a_consumer_without_any_partition_in_the_topic_waits_and_says_so():
    """The topic has one partition; this consumer's is the second."""
    bench = Bench(configured=2, partitions=[1])
    bench.broker.values = {0: []}

    async with bench.running():
        await bench.until(lambda: "none of this consumer's: 1" in bench.consumer.status.cause)
        bench.broker.values[1] = [value(1)]
        await bench.until(lambda: bench.database.seqs == [1])
