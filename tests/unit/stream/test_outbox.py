"""The outbox: everything that is put is delivered, in order, whatever the broker does."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ray_pipeline.errors import BrokerUnavailable, RecordTooLarge, SpoolFull
from ray_pipeline.feeds.codec import Decoder
from ray_pipeline.feeds.records import Gap, Notice, Reject, Trade
from ray_pipeline.stream import outbox as module
from ray_pipeline.stream.outbox import OutboxRecord, Publisher
from tests.support import eventually

START = datetime(2026, 1, 5, 15, 0, tzinfo=UTC)
DECODER: Decoder[Trade] = Decoder(Trade)


@dataclass
class FakeClock:
    """Time that stands still until a test moves it; a pace makes it run with every look."""

    seconds: float = 0.0
    pace_s: float = 0.0

    def now(self) -> datetime:
        return START + timedelta(seconds=self.seconds)

    def monotonic_s(self) -> float:
        self.seconds += self.pace_s
        return self.seconds


@dataclass
class FakeBroker:
    """Keeps what it is sent. It can be away, stuck, unreliable, or strict about sizes."""

    log: list[tuple[int, bytes, bytes]] = field(default_factory=list)
    rounds: list[int] = field(default_factory=list)
    away: bool = False
    limit_bytes: int = 2**20
    chance: Random | None = None
    flow: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.flow.set()

    async def send(self, topic: str, messages: Sequence[tuple[int, bytes, bytes]]) -> None:
        await asyncio.sleep(0)
        self._refuse()
        await self.flow.wait()
        for index, (_, _, value) in enumerate(messages):
            if len(value) > self.limit_bytes:
                self.log += messages[:index]
                raise RecordTooLarge("too large for the broker", index=index)
        if self.chance is not None and self.chance.random() < 0.3:
            # Some of the round arrived, and the word of it was lost.
            self.log += messages[: self.chance.randint(0, len(messages))]
            raise BrokerUnavailable("the connection broke")
        self.log += messages
        self.rounds.append(len(messages))

    def _refuse(self) -> None:
        if self.away:
            raise BrokerUnavailable("the broker is away")

    def records(self) -> list[Trade | Notice]:
        return [DECODER.decode(value) for _, _, value in self.log]

    def firsts(self) -> list[tuple[int, int]]:
        """Return (epoch, seq) in the order in which each arrived first."""
        return list(dict.fromkeys((one.epoch, one.seq) for one in self.records()))


@dataclass
class FakeSpool:
    """A queue in memory that outlives an outbox."""

    entries: list[OutboxRecord] = field(default_factory=list)
    limit: int = 10**9
    most: int = 0

    def __len__(self) -> int:
        return len(self.entries)

    def append(self, records: Sequence[OutboxRecord]) -> None:
        if len(self.entries) + len(records) > self.limit:
            raise SpoolFull("the disk is full")
        self.entries += records
        self.most = max(self.most, len(self.entries))

    def read(self, limit: int) -> list[OutboxRecord]:
        return self.entries[:limit]

    def acknowledge(self, count: int) -> None:
        assert count <= len(self.entries)
        del self.entries[:count]


@dataclass
class Bench:
    """An outbox between fakes."""

    broker: FakeBroker = field(default_factory=FakeBroker)
    spool: FakeSpool = field(default_factory=FakeSpool)
    clock: FakeClock = field(default_factory=FakeClock)
    valid: bool = True
    shard: int = 4

    def publisher(self, *, epoch: int = 1) -> Publisher:
        return Publisher(
            self.broker,
            self.spool,
            topic="trades",
            partition=self.shard % 3,
            shard=self.shard,
            epoch=epoch,
            may_send=lambda: self.valid,
            clock=self.clock,
        )

    @asynccontextmanager
    async def running(self, *, epoch: int = 1) -> AsyncIterator[Publisher]:
        publisher, stop = self.publisher(epoch=epoch), asyncio.Event()
        task = asyncio.create_task(publisher.run(stop))
        try:
            yield publisher
        finally:
            stop.set()
            async with asyncio.timeout(10):
                await task

    def put(self, publisher: Publisher, count: int = 1, *, symbol: str = "AAPL") -> None:
        for _ in range(count):
            trade = Trade(
                symbol,
                Decimal("129.575"),
                Decimal(3),
                1_700_000_000_000,
                publisher.epoch,
                publisher.next_seq(),
                self.shard,
            )
            publisher.put("AAPL", trade, received_at=self.clock.now())


def numbers(epoch: int, last: int, *, first: int = 1) -> list[tuple[int, int]]:
    return [(epoch, seq) for seq in range(first, last + 1)]


async def test_records_arrive_in_order_in_the_shards_partition() -> None:
    bench = Bench()
    async with bench.running() as publisher:
        bench.put(publisher, 10)
        assert await publisher.drain(5)
    assert bench.broker.firsts() == numbers(1, 10)
    assert {(partition, key) for partition, key, _ in bench.broker.log} == {(1, b"AAPL")}


async def test_what_waits_goes_in_one_round_of_at_most_5000() -> None:
    bench = Bench()
    async with bench.running() as publisher:
        bench.put(publisher, 12_000)
        assert await publisher.drain(5)
    assert bench.broker.rounds == [5_000, 5_000, 2_000]
    assert bench.spool.most == 0


async def test_one_round_is_in_flight_at_a_time() -> None:
    bench = Bench()
    async with bench.running() as publisher:
        bench.broker.flow.clear()
        bench.put(publisher)
        await eventually(lambda: publisher._sending is not None)
        bench.put(publisher, 5)
        assert bench.broker.log == []
        bench.broker.flow.set()
        assert await publisher.drain(5)
    assert bench.broker.rounds == [1, 5]


async def test_status_follows_the_acknowledgements() -> None:
    bench = Bench()
    async with bench.running() as publisher:
        assert publisher.status().safe_at is None
        bench.broker.flow.clear()
        received_at = bench.clock.now()
        bench.put(publisher, 3)
        bench.clock.seconds += 0.5
        status = publisher.status()
        assert (status.published, status.pending, status.spooled) == (0, 3, 0)
        assert status.safe_at == received_at
        bench.broker.flow.set()
        assert await publisher.drain(5)
        status = publisher.status()
        assert (status.published, status.pending, status.cause) == (3, 0, "")
        assert status.safe_at == bench.clock.now()


async def test_a_failed_round_is_sent_again_with_its_numbers() -> None:
    bench = Bench(clock=FakeClock(pace_s=0.01))
    bench.broker.away = True
    async with bench.running() as publisher:
        bench.put(publisher, 3)
        await eventually(lambda: publisher.status().cause == "the broker is away")
        bench.broker.away = False
        assert await publisher.drain(5)
    assert bench.broker.firsts() == numbers(1, 3)


async def test_records_wait_on_disk_while_the_broker_is_away() -> None:
    bench = Bench()
    bench.broker.away = True
    async with bench.running() as publisher:
        bench.put(publisher, 3)
        await eventually(lambda: publisher.status().cause)
        assert publisher.status().spooled == 0
        bench.clock.seconds += 1.1
        await eventually(lambda: publisher.status().spooled == 3)
        bench.put(publisher, 2)
        bench.clock.seconds += 1.1
        await eventually(lambda: publisher.status().spooled == 5)
        assert publisher.status().pending == 0
        assert publisher.status().safe_at == START
        bench.broker.away = False
        bench.clock.seconds += 1.1
        assert await publisher.drain(5)
        bench.put(publisher)
        assert await publisher.drain(5)
        assert publisher.status().published == 6
    assert bench.broker.firsts() == numbers(1, 6)
    assert bench.spool.entries == []


async def test_a_round_that_hangs_is_kept_on_disk_until_it_is_acknowledged() -> None:
    bench = Bench()
    bench.broker.flow.clear()
    async with bench.running() as publisher:
        bench.put(publisher, 3)
        await eventually(lambda: publisher._sending is not None)
        bench.put(publisher, 2)
        bench.clock.seconds += 1.1
        await eventually(lambda: len(bench.spool) == 5)
        bench.broker.flow.set()
        assert await publisher.drain(5)
    assert [(one.epoch, one.seq) for one in bench.broker.records()] == numbers(1, 5)


async def test_too_much_for_memory_goes_to_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MEMORY_RECORDS", 100)
    monkeypatch.setattr(module, "ROUND_RECORDS", 20)
    bench = Bench(clock=FakeClock(pace_s=0.001))
    async with bench.running() as publisher:
        bench.put(publisher, 500)
        assert await publisher.drain(5)
        assert bench.spool.most > 0
    assert bench.broker.firsts() == numbers(1, 500)


async def test_direct_sending_resumes_under_a_steady_load(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ROUND_RECORDS", 20)
    bench = Bench(clock=FakeClock(pace_s=0.01))
    bench.spool.append(_entries(1, 100))
    async with bench.running(epoch=2) as publisher:

        def feed() -> bool:
            bench.put(publisher)
            return len(bench.spool) == 0 and publisher.status().published > 3

        await eventually(feed)
        assert await publisher.drain(5)
    assert bench.broker.firsts()[:100] == numbers(1, 100)


def _entries(epoch: int, last: int) -> list[OutboxRecord]:
    bench = Bench()
    bench.broker.away = True
    publisher = bench.publisher(epoch=epoch)
    bench.put(publisher, last)
    publisher._spool_all()
    return bench.spool.entries


async def test_an_old_epochs_records_go_before_the_new_ones() -> None:
    bench = Bench()
    bench.spool.append(_entries(1, 7))
    async with bench.running(epoch=2) as publisher:
        bench.put(publisher, 3)
        assert publisher.status().spooled == 7
        assert await publisher.drain(5)
        assert publisher.status().published == 3
    assert bench.broker.firsts() == [*numbers(1, 7), *numbers(2, 3)]


async def test_an_old_epochs_numbers_are_not_published_by_the_new_one() -> None:
    bench = Bench()
    bench.spool.append(_entries(1, 7))
    async with bench.running(epoch=2) as publisher:
        assert await publisher.drain(5)
        assert publisher.status().published == 0


async def test_a_record_that_is_too_large_is_replaced_by_a_reject() -> None:
    bench = Bench()
    bench.broker.limit_bytes = 300_000
    async with bench.running() as publisher:
        bench.put(publisher)
        bench.put(publisher, symbol="X" * 400_000)
        bench.put(publisher)
        assert await publisher.drain(5)
        assert publisher.status().published == 3
    assert bench.broker.firsts() == numbers(1, 3)
    reject = next(one for one in bench.broker.records() if isinstance(one, Reject))
    assert (reject.seq, reject.reason, reject.pod_index) == (2, "too_large", bench.shard)
    assert reject.size_bytes > 400_000
    assert 50_000 < len(reject.payload) <= 64 * 1024
    assert reject.payload.startswith('{"v":1,"symbol":"XXX')


async def test_a_reject_that_is_too_large_itself_shrinks() -> None:
    bench = Bench()
    bench.broker.limit_bytes = 5_000
    async with bench.running() as publisher:
        bench.put(publisher, symbol="\\" * 200_000)
        assert await publisher.drain(5)
    assert bench.broker.firsts() == numbers(1, 1)


async def test_nothing_is_sent_without_a_valid_lease() -> None:
    bench = Bench(valid=False)
    async with bench.running() as publisher:
        bench.put(publisher, 3)
        await eventually(lambda: "lease" in publisher.status().cause)
        bench.clock.seconds += 1.1
        await eventually(lambda: publisher.status().spooled == 3)
        assert bench.broker.log == []
        bench.valid = True
        bench.clock.seconds += 1.1
        assert await publisher.drain(5)
    assert bench.broker.firsts() == numbers(1, 3)


async def test_a_stop_leaves_the_rest_on_disk() -> None:
    bench = Bench()
    bench.broker.flow.clear()
    async with bench.running() as publisher:
        bench.put(publisher, 3)
        await eventually(lambda: publisher._sending is not None)
        bench.put(publisher, 2)
    assert [entry.seq for entry in bench.spool.entries] == [1, 2, 3, 4, 5]


async def test_being_cancelled_leaves_the_rest_on_disk() -> None:
    bench = Bench()
    bench.broker.flow.clear()
    publisher = bench.publisher()
    task = asyncio.create_task(publisher.run(asyncio.Event()))
    bench.put(publisher, 3)
    await eventually(lambda: publisher._sending is not None)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert [entry.seq for entry in bench.spool.entries] == [1, 2, 3]


async def test_a_drain_that_takes_too_long_leaves_the_rest_on_disk() -> None:
    bench = Bench()
    bench.broker.away = True
    async with bench.running() as publisher:
        bench.put(publisher, 3)
        assert not await publisher.drain(0.05)
        assert len(bench.spool) == 3


async def test_a_full_disk_becomes_a_gap_when_there_is_room(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "MEMORY_RECORDS", 10)
    bench = Bench()
    bench.broker.away = True
    bench.spool.limit = 5
    async with bench.running() as publisher:
        bench.put(publisher, 5)
        await eventually(lambda: publisher.status().cause)
        bench.clock.seconds += 2
        await eventually(lambda: publisher.status().spooled == 5)
        bench.put(publisher, 10)
        bench.clock.seconds += 2
        await eventually(lambda: publisher.status().cause == "the disk is full")
        lost_from = bench.clock.now()
        bench.put(publisher)
        bench.clock.seconds += 1
        lost_to = bench.clock.now()
        bench.put(publisher)
        assert publisher.next_seq() == 16
        assert publisher.status().safe_at == START
        bench.broker.away = False
        bench.clock.pace_s = 0.01
        await eventually(lambda: publisher.next_seq() == 17)
        bench.put(publisher)
        assert await publisher.drain(5)
        assert publisher.status().cause == ""
    gap = bench.broker.records()[15]
    assert isinstance(gap, Gap)
    assert (gap.seq, gap.gap_kind, gap.pod_index) == (16, "spool_full", bench.shard)
    assert (gap.from_at, gap.to_at) == (lost_from, lost_to)
    assert gap.cause == "2 records were not kept: the disk is full"
    assert bench.broker.firsts() == numbers(1, 17)


async def _live(bench: Bench, epoch: int, *, puts: Sequence[int], crash: bool) -> int:
    """Publish in one epoch with puts at odd moments; return how many were put."""
    publisher, stop = bench.publisher(epoch=epoch), asyncio.Event()
    task = asyncio.create_task(publisher.run(stop))
    await asyncio.sleep(0)  # a task that is cancelled before it began does nothing at all
    for count in puts:
        bench.put(publisher, count)
        for _ in range(count % 4):
            await asyncio.sleep(0)
    if not crash:
        assert await publisher.drain(10)
        stop.set()
        await task
    else:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    return sum(puts)


@settings(max_examples=60)
@given(
    lives=st.lists(
        st.tuples(st.lists(st.integers(1, 12), max_size=8), st.booleans()), min_size=1, max_size=4
    ),
    seed=st.integers(0, 2**16),
    pace_s=st.sampled_from([0.02, 0.3, 1.5]),
)
def test_whatever_fails_everything_arrives_in_order(
    lives: list[tuple[list[int], bool]], seed: int, pace_s: float
) -> None:
    async def scenario() -> None:
        bench = Bench(broker=FakeBroker(chance=Random(seed)), clock=FakeClock(pace_s=pace_s))
        expected: list[tuple[int, int]] = []
        for epoch, (puts, crash) in enumerate(lives, start=1):
            expected += numbers(epoch, await _live(bench, epoch, puts=puts, crash=crash))
        await _live(bench, len(lives) + 1, puts=[], crash=False)
        assert bench.broker.firsts() == expected
        assert bench.spool.entries == []

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "ROUND_RECORDS", 5)
        patch.setattr(module, "MEMORY_RECORDS", 15)
        patch.setattr(module, "SPOOL_RECORDS", 7)
        patch.setattr(module, "POLL_S", 0.001)
        asyncio.run(scenario())
