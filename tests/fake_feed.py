"""A venue, an outbox and a collector for tests without a network."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from datetime import datetime
from random import Random

from ray_pipeline.errors import FeedUnavailable
from ray_pipeline.feeds.feed_registry import feed_named
from ray_pipeline.feeds.records import Gap
from ray_pipeline.retry import Backoff
from ray_pipeline.stream.connection_ports import Clock, Pauses
from ray_pipeline.stream.gaps import GapBook
from ray_pipeline.stream.ingest import Intake, NoticeWriter, Origin
from ray_pipeline.stream.liveness import ALWAYS_OPEN, Liveness, MarketHours
from ray_pipeline.stream.outbox_port import OutboxStatus
from ray_pipeline.stream.venue_connection import Collector
from ray_pipeline.tasks import first_of
from tests.virtual_time import START, now_s, virtual_clock

LIVENESS_S = 60.0


class LongestPause(Random):
    """Draws the longest pause, so that the times of attempts are exact."""

    def uniform(self, a: float, b: float) -> float:
        return b


class FakeOutbox:
    """Keeps records, and adds what is done to it to `events`."""

    def __init__(self, epoch: int = 7, events: list[str] | None = None) -> None:
        self.epoch = epoch
        self.events = [] if events is None else events
        self.records: list = []
        self.cause = ""
        self.safe_at: datetime | None = None
        self.failure: Exception | None = None
        self.drain_s: float | None = None
        self.drain_takes_s = 0.0
        self._failed = asyncio.Event()

    def next_seq(self) -> int:
        return len(self.records) + 1

    def put(self, key: str, record: object, *, received_at: datetime) -> None:
        self.records.append(record)
        if isinstance(record, Gap):
            self.events.append("gap")

    def status(self) -> OutboxStatus:
        return OutboxStatus(0, len(self.records), 0, self.safe_at, self.cause)

    async def run(self, stop: asyncio.Event) -> None:
        if self.failure is None:
            await first_of(stop.wait(), self._failed.wait())
        if self.failure is not None:
            raise self.failure
        self.events.append("outbox stopped")

    def fail(self, error: Exception) -> None:
        """End `run` with an error."""
        self.failure = error
        self._failed.set()

    async def drain(self, timeout_s: float) -> None:
        self.drain_s = timeout_s
        self.events.append("drain")
        await asyncio.sleep(self.drain_takes_s)

    @property
    def gaps(self) -> list[Gap]:
        """The gaps among the records."""
        return [record for record in self.records if isinstance(record, Gap)]

    @property
    def symbols(self) -> list[str]:
        """The symbol of each trade among the records."""
        return [record.symbol for record in self.records if not isinstance(record, Gap)]


class FakeSocket:
    """A connection; the test decides which frames arrive and when it breaks."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, str]] = []
        self.sent_at_s: list[float] = []
        self.pings_at_s: list[float] = []
        self.half_open = False
        self._arrivals: asyncio.Queue[bytes | Exception] = asyncio.Queue()

    async def send(self, text: str) -> None:
        request = json.loads(text)
        self.sent.append((request["type"], request["symbol"]))
        self.sent_at_s.append(now_s())

    async def receive(self) -> bytes:
        arrival = await self._arrivals.get()
        if isinstance(arrival, Exception):
            raise arrival
        return arrival

    async def ping(self) -> None:
        self.pings_at_s.append(now_s())
        if self.half_open:
            await asyncio.Event().wait()

    def deliver(self, frame: bytes) -> None:
        """Let a frame arrive."""
        self._arrivals.put_nowait(frame)

    def trade(self, *symbols: str) -> None:
        """Let a frame with a trade of each symbol arrive."""
        event_ms = int(START.timestamp() * 1000)
        data = [{"s": symbol, "p": 1.5, "v": 1, "t": event_ms} for symbol in symbols]
        self.deliver(json.dumps({"type": "trade", "data": data}).encode())

    def break_off(self, error: Exception | None = None) -> None:
        """End the connection."""
        self._arrivals.put_nowait(error or FeedUnavailable("the connection broke"))


class FakeVenue:
    """Accepts connections, except for those that `refusals` lists."""

    def __init__(self, events: list[str] | None = None) -> None:
        self.events = [] if events is None else events
        self.sockets: list[FakeSocket] = []
        self.attempts_at_s: list[float] = []
        self.refusals: list[Exception] = []
        self.closed = 0

    @contextlib.asynccontextmanager
    async def connect(self) -> AsyncIterator[FakeSocket]:
        self.attempts_at_s.append(now_s())
        if self.refusals:
            raise self.refusals.pop(0)
        self.events.append("connect")
        self.sockets.append(FakeSocket())
        try:
            yield self.sockets[-1]
        finally:
            self.closed += 1
            self.events.append("disconnect")

    @property
    def socket(self) -> FakeSocket:
        """The newest connection."""
        return self.sockets[-1]


class FakePacer:
    """Counts the turns."""

    def __init__(self) -> None:
        self.turns = 0

    async def turn(self) -> None:
        self.turns += 1


def make_intake(outbox: FakeOutbox, feed: str = "sp500") -> Intake:
    """Return an intake that fills the outbox."""
    notices = NoticeWriter(outbox, Origin(3, f"{feed}-03"))
    return Intake(notices, feed_named(feed), future_tolerance_ms=1_000)


def make_collector(
    venue: FakeVenue,
    intake: Intake,
    *,
    feed: str = "sp500",
    pacer: FakePacer | None = None,
    hours: MarketHours = ALWAYS_OPEN,
    pauses: Pauses | None = None,
    clock: Clock | None = None,
) -> Collector:
    """Return a collector in virtual time; after failures it waits 1, 2, 4 and then 8 seconds."""
    return Collector(
        intake,
        feed_named(feed).protocol.subscription,
        connect=venue.connect,
        new_ticket=lambda: "ticket",
        pacer=pacer or FakePacer(),
        pauses=pauses or Pauses(subscribe_s=0.0, rest_s=0.0, liveness_s=LIVENESS_S),
        liveness=Liveness(liveness_s=LIVENESS_S, hours=hours),
        backoff=Backoff(base_s=1.0, cap_s=8.0, random=LongestPause()),
        gaps=GapBook(intake.notices.gap),
        clock=clock or virtual_clock(),
    )


@contextlib.asynccontextmanager
async def running(coroutine) -> AsyncIterator[asyncio.Task]:
    """Run a coroutine for the length of a block; raise its error if it failed before the end."""
    task = asyncio.create_task(coroutine)
    try:
        yield task
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


class EveryCall:
    """Permits every REST call, and counts permits and cooldowns."""

    def __init__(self) -> None:
        self.permits = 0
        self.cooldowns_s: list[float] = []

    @contextlib.asynccontextmanager
    async def next_call(self) -> AsyncIterator[None]:
        self.permits += 1
        yield

    async def cool_down(self, wait_s: float, reason: str) -> None:
        self.cooldowns_s.append(wait_s)
