"""An outbox between a fake broker, a fake spool and a fake clock."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from random import Random

from ray_pipeline.errors import BrokerUnavailable, RecordTooLarge, SpoolFull
from ray_pipeline.feeds.codec import Decoder
from ray_pipeline.feeds.records import Notice, Trade
from ray_pipeline.stream.outbox import Publisher
from ray_pipeline.stream.publishing_ports import OutboxRecord

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


def entries(epoch: int, last: int) -> list[OutboxRecord]:
    bench = Bench()
    bench.broker.away = True
    publisher = bench.publisher(epoch=epoch)
    bench.put(publisher, last)
    publisher._spool_all()
    return bench.spool.entries
