"""A producer: it collects only under its lease, and hands over without a loss."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import replace
from datetime import datetime

import pytest

from ray_pipeline.errors import DatabaseUnavailable, FeedUnavailable, OwnershipLost
from ray_pipeline.feeds.feed_registry import feed_named
from ray_pipeline.lease import Lease, Ownership
from ray_pipeline.retry import Backoff
from ray_pipeline.storage.postgres.symbols import PolledSymbols
from ray_pipeline.stream.heartbeat import Beat
from ray_pipeline.stream.ingest import Intake, NoticeWriter
from ray_pipeline.stream.producer_ports import Identity, Line, Parts
from ray_pipeline.stream.shard_producer import Producer
from tests.fake_feed import FakeOutbox, FakeVenue, LongestPause, make_collector
from tests.virtual_time import at, now_s, until_s, virtual_clock, virtual_time

TTL_S = 30.0
DRAIN_S = 20.0


class FakeLeases:
    """The lease of one resource; another process may hold or request it."""

    def __init__(self, events: list[str]) -> None:
        self.events = events
        self.epoch = 0
        self.other_holder = False
        self.newer_generation = False
        self.away = ""
        self.handovers = 0

    def check(self) -> None:
        if self.away:
            raise DatabaseUnavailable(self.away)

    async def acquire(
        self, resource: str, *, holder: str, generation: int, ttl_s: float
    ) -> Lease | None:
        self.check()
        if self.other_holder or self.newer_generation:
            return None
        self.epoch += 1
        self.events.append("take")
        return Lease(resource, holder, generation, self.epoch, now_s() + ttl_s)

    async def renew(self, lease: Lease, *, ttl_s: float) -> Lease:
        self.check()
        if self.other_holder:
            raise OwnershipLost("another holder took the lease")
        return replace(lease, deadline_s=now_s() + ttl_s)

    async def release(self, lease: Lease) -> None:
        self.events.append("release")

    async def request(self, resource: str, *, generation: int, for_s: float) -> None:
        self.handovers += 1

    async def requested(self, lease: Lease) -> bool:
        return self.newer_generation

    async def close(self) -> None:
        """Nothing is open."""


class FakeBeats:
    """Keeps the heartbeats."""

    def __init__(self) -> None:
        self.beats: list[Beat] = []
        self.safe_at: datetime | None = None
        self.clock_ahead_s = 0.0
        self.away = ""

    async def write(self, beat: Beat) -> None:
        self.beats.append(beat)

    async def last_safe_at(self, feed: str, shard: int, *, before_epoch: int) -> datetime | None:
        if self.away:
            raise DatabaseUnavailable(self.away)
        return self.safe_at


class FakeSymbols:
    """A source of symbols that a test can change."""

    def __init__(self, *names: str) -> None:
        self._symbols = dict.fromkeys(names)
        self._changed = asyncio.Event()
        self.cause = ""

    async def updates(self) -> AsyncIterator[Mapping[str, str | None]]:
        while True:
            self._changed.clear()
            yield self._symbols
            await self._changed.wait()

    def change(self, *names: str) -> None:
        """Replace the symbols."""
        self._symbols = dict.fromkeys(names)
        self._changed.set()


class Bench:
    """A producer with fake parts. `events` lists in which order they are used."""

    def __init__(self, *, has_key: bool = True, symbols: PolledSymbols | None = None) -> None:
        self.events: list[str] = []
        self.leases, self.venue = FakeLeases(self.events), FakeVenue(self.events)
        self.beats, self.symbols = FakeBeats(), FakeSymbols("AAPL", "MSFT")
        self.outboxes: list[FakeOutbox] = []
        self.outbox_failure: Exception | None = None
        self.bugs: list[Exception] = []
        self.poller = None
        self.ownership = Ownership(
            self.leases,
            "producer/sp500/3",
            holder="test",
            generation=1,
            ttl_s=TTL_S,
            random=LongestPause(),
            clock=now_s,
        )
        self.producer = Producer(
            Identity("sp500", 3, "test"),
            Parts(
                ownership=self.ownership,
                beats=self.beats,
                symbols=symbols or self.symbols,
                outbox=self._new_outbox,
                line=self._line if has_key else None,
                clock=virtual_clock(),
                backoff=Backoff(base_s=1.0, cap_s=8.0, random=LongestPause()),
                drain_s=DRAIN_S,
                close=self._close,
                let_go=lambda: self.events.append("let go"),
                missing="" if has_key else "there is no key",
            ),
        )

    def _new_outbox(self, epoch: int, gate: Callable[[], bool]) -> FakeOutbox:
        self.may_publish = gate
        self.outboxes.append(FakeOutbox(epoch, self.events))
        self.outboxes[-1].failure, self.outbox_failure = self.outbox_failure, None
        return self.outboxes[-1]

    def _line(self, notices: NoticeWriter) -> Line:
        if self.bugs:
            raise self.bugs.pop()
        intake = Intake(notices, feed_named("sp500"), future_tolerance_ms=1_000)
        return Line(make_collector(self.venue, intake), self.poller)

    async def _close(self) -> None:
        self.events.append("close")

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run the producer for the length of a block."""
        task = asyncio.create_task(self.producer.run())
        try:
            yield
        finally:
            await self.producer.stop(drain_s=1.0)
            await task

    @property
    def outbox(self) -> FakeOutbox:
        """The newest outbox."""
        return self.outboxes[-1]

    @property
    def situation(self) -> tuple[object, object]:
        """The state and the cause that the producer reports."""
        status = self.producer.status()
        return status["state"], status["cause"]

    def subscribed(self) -> list[tuple[str, str]]:
        """The requests that the newest connection received."""
        return self.venue.socket.sent


@virtual_time
async def test_it_takes_the_lease_before_it_connects():
    """Two connections with one key would interrupt each other, and each record would come twice."""
    bench = Bench()
    bench.leases.other_holder = True
    async with bench.running():
        await until_s(50)
        assert bench.events == []
        assert bench.situation == ("waiting", "waiting for the lease producer/sp500/3")
        assert bench.leases.handovers > 0
        bench.leases.other_holder = False
        await until_s(55)
        assert bench.events == ["take", "connect"]
        assert bench.situation == ("collecting", "")
        assert bench.subscribed() == [("subscribe", "AAPL"), ("subscribe", "MSFT")]


@virtual_time
async def test_a_stop_drains_the_outbox_and_then_releases_the_lease():
    """Records that arrive after those of a newer epoch would become dead letters."""
    bench = Bench()
    async with bench.running():
        await until_s(5.5)
        bench.venue.socket.trade("AAPL")
        await until_s(6)
        await bench.producer.stop(drain_s=4.0)

    assert bench.events == [
        "take", "connect", "disconnect", "drain", "outbox stopped", "let go", "release", "close",
    ]  # fmt: skip
    assert bench.outbox.drain_s == 4.0
    assert (bench.beats.beats[-1].state, bench.beats.beats[-1].stopped_at) == ("stopped", at(6))
    assert bench.situation == ("stopped", "")


@virtual_time
async def test_it_hands_over_on_request():
    """A newer generation continues; this producer waits for the lease from then on."""
    bench = Bench()
    async with bench.running():
        await until_s(5)
        bench.leases.newer_generation = True
        await until_s(20)

        assert bench.events[2:] == ["disconnect", "drain", "outbox stopped", "let go", "release"]
        assert bench.outbox.drain_s == DRAIN_S
        assert [beat.stopped_at for beat in bench.beats.beats][-1] == at(TTL_S / 3)
        assert bench.situation == ("waiting", "waiting for the lease producer/sp500/3")


@virtual_time
async def test_a_lost_lease_ends_the_epoch_without_a_drain():
    """The other holder numbers the records now. What is spooled stays on disk."""
    bench = Bench()
    async with bench.running():
        await until_s(5)
        bench.leases.other_holder = True
        await until_s(12)

        assert bench.events == ["take", "connect", "disconnect", "outbox stopped", "let go"]
        last = bench.beats.beats[-1]
        assert (last.state, last.cause) == ("lost", "another holder took the lease")
        assert last.stopped_at is None
        bench.leases.other_holder = False
        await until_s(16)
        assert bench.situation == ("collecting", "")
        assert [outbox.epoch for outbox in bench.outboxes] == [1, 2]


@virtual_time
async def test_an_outbox_that_cannot_spool_after_a_lost_lease_is_named(caplog):
    """Its records are in the gap of the next epoch; the log says why."""
    bench = Bench()
    async with bench.running():
        await until_s(5)
        bench.outbox.failure = OSError("no space on the disk")
        bench.leases.other_holder = True
        await until_s(12)

    assert "the outbox failed: OSError: no space on the disk" in caplog.text


@virtual_time
async def test_the_time_between_two_holders_becomes_a_gap():
    """It begins when the previous epoch was last complete and ends with the first data."""
    bench = Bench()
    bench.beats.safe_at = at(-40)
    async with bench.running():
        await until_s(2)
        assert bench.producer.status()["safe_at"] == at(-40)
        bench.venue.socket.trade("AAPL")
        await until_s(3)

        (gap,) = bench.outbox.gaps
        assert (gap.gap_kind, gap.from_at, gap.to_at) == ("producer_down", at(-40), at(2))


@virtual_time
async def test_it_does_not_connect_before_the_end_of_the_previous_epoch_is_known():
    """Otherwise the first data would end a gap without a start."""
    bench = Bench()
    bench.beats.away = "no database"
    async with bench.running():
        await until_s(5.5)
        assert bench.situation == ("waiting", "no database")
        assert bench.events == ["take"]
        bench.beats.away = ""
        await until_s(7)
        assert bench.events == ["take", "connect"]


@virtual_time
async def test_a_gap_that_is_open_at_the_stop_is_reported_before_the_drain():
    """The next producer reports only the time from the stop on."""
    bench = Bench()
    async with bench.running():
        await until_s(5)
        bench.venue.refusals = [FeedUnavailable("no route")] * 9
        bench.venue.socket.break_off()
        await until_s(9)

    assert bench.events[3:5] == ["gap", "drain"]
    (gap,) = bench.outbox.gaps
    assert (gap.gap_kind, gap.to_at) == ("disconnected", at(9))


@virtual_time
async def test_a_pause_disconnects_and_keeps_the_lease():
    bench = Bench()
    async with bench.running():
        await until_s(5)
        bench.producer.pause()
        await until_s(100)
        assert bench.events == ["take", "connect", "disconnect"]
        assert bench.situation == ("paused", "paused by request")
        assert bench.producer.status()["paused"] is True
        assert bench.producer.status()["valid"] is True
        bench.producer.resume()
        await until_s(101)
        assert bench.events[3:] == ["connect"]
        assert bench.producer.status()["paused"] is False


@virtual_time
async def test_a_pause_reads_no_symbols():
    """A source of symbols may call the venue's REST API at every reading."""
    reads_at_s = []

    async def load() -> dict[str, None]:
        reads_at_s.append(now_s())
        return {"AAPL": None}

    bench = Bench(symbols=PolledSymbols(load, poll_s=3_600.0))
    async with bench.running():
        await until_s(10)
        bench.producer.pause()
        await until_s(20_000)
        assert reads_at_s == [0]
        bench.producer.resume()
        await until_s(20_010)
        assert reads_at_s == [0, 20_000]
        assert bench.subscribed() == [("subscribe", "AAPL")]


@virtual_time
async def test_a_pause_outlasts_a_lost_lease():
    """The next epoch must not connect either."""
    bench = Bench()
    async with bench.running():
        await until_s(5)
        bench.producer.pause()
        bench.leases.other_holder = True
        await until_s(12)
        bench.leases.other_holder = False
        await until_s(20)

        assert [outbox.epoch for outbox in bench.outboxes] == [1, 2]
        assert len(bench.venue.sockets) == 1
        assert bench.situation == ("paused", "paused by request")


@virtual_time
async def test_a_cause_of_the_feed_or_the_lease_is_shown_before_one_of_the_broker():
    """Records that wait for the broker are safe in the outbox."""
    bench = Bench()
    async with bench.running():
        await until_s(5)
        bench.outbox.cause = "kafka does not answer"
        assert bench.situation == ("collecting", "kafka does not answer")
        bench.leases.away = "postgres does not answer"
        await until_s(15)
        assert bench.situation == ("collecting", "postgres does not answer")
        bench.leases.away = ""
        await until_s(25)
        bench.venue.refusals = [FeedUnavailable("no route")] * 9
        bench.venue.socket.break_off()
        await until_s(25.5)
        assert bench.situation == ("disconnected", "the connection broke")


@virtual_time
@pytest.mark.parametrize(
    ("ahead_s", "words"), [(3600.0, "3600 s ahead of the database's"), (-301.0, "301 s behind")]
)
async def test_a_wrong_clock_is_shown_behind_any_other_cause(ahead_s, words):
    bench = Bench()
    async with bench.running():
        await until_s(1)
        bench.beats.clock_ahead_s = ahead_s
        state, cause = bench.situation
        assert state == "collecting"
        assert words in cause
        assert "NTP" in cause
        bench.outbox.cause = "the broker is away"
        assert bench.situation[1] == f"the broker is away; {cause}"
        bench.beats.clock_ahead_s = 1.0
        assert bench.situation[1] == "the broker is away"


@virtual_time
async def test_the_reason_that_there_are_no_symbols_is_shown():
    """The venue refuses the list, for example."""
    bench = Bench()
    bench.symbols.change()
    bench.symbols.cause = "the symbols cannot be read: HTTP 503"
    async with bench.running():
        await until_s(5)
        assert bench.situation == ("no_symbols", "the symbols cannot be read: HTTP 503")


@virtual_time
async def test_an_excluded_market_is_shown_although_the_feed_collects():
    """It is tried again by itself; a person sees the reason meanwhile."""
    bench = Bench()

    class FakePoller:
        cause = "the REST API refuses KRW-NONE until 03:28:34 UTC (404 Code not found)"

        async def run(self) -> None:
            await asyncio.Event().wait()

    bench.poller = FakePoller()
    async with bench.running():
        await until_s(5)
        assert bench.situation == ("collecting", FakePoller.cause)


@virtual_time
async def test_an_expired_lease_is_not_valid_until_it_is_renewed():
    """Publishing waits meanwhile. Reading continues, because no other holder took over."""
    bench = Bench()
    async with bench.running():
        await until_s(5)
        bench.leases.away = "postgres does not answer"
        await until_s(40)
        assert bench.producer.status()["valid"] is False
        assert not bench.may_publish()
        bench.leases.away = ""
        await until_s(45)
        assert bench.producer.status()["valid"] is True
        assert bench.may_publish()
        assert bench.events == ["take", "connect"]


@virtual_time
async def test_without_a_key_it_takes_no_lease_and_says_what_is_missing():
    """An instance of any generation that has the key must be able to collect."""
    bench = Bench(has_key=False)
    async with bench.running():
        await until_s(8.5)
        assert bench.situation == ("no_key", "there is no key")
        assert bench.events == []
        assert {(beat.state, beat.epoch) for beat in bench.beats.beats} == {("no_key", 0)}
        assert len(bench.beats.beats) == 9

    last = bench.beats.beats[-1]
    assert (last.state, last.epoch, last.stopped_at) == ("stopped", 0, at(8.5))


@virtual_time
@pytest.mark.parametrize("moment", ["collecting", "draining"])
async def test_the_last_heartbeat_after_a_failure_names_the_cause(moment):
    """The lease is not lost; the outbox failed."""
    bench = Bench()
    async with bench.running():
        await until_s(5)
        if moment == "draining":
            bench.outbox.drain_takes_s = 1_000.0
            bench.leases.newer_generation = True
            await until_s(12)
            bench.leases.newer_generation = False
        bench.outbox.fail(RuntimeError("disk full"))
        await until_s(12.5)

        last = next(beat for beat in bench.beats.beats[::-1] if beat.epoch == 1)
        assert (last.state, last.cause) == ("failed", "RuntimeError: disk full")
        assert last.stopped_at is None


@virtual_time
@pytest.mark.parametrize("place", ["line", "outbox"])
async def test_a_bug_is_reported_and_the_shard_starts_again(place):
    """The lease is released meanwhile, so that another instance may try."""
    bench = Bench()
    if place == "line":
        bench.bugs = [RuntimeError("a bug")]
    else:
        bench.outbox_failure = RuntimeError("a bug")
    async with bench.running():
        await until_s(0.5)
        assert bench.situation == ("failed", "RuntimeError: a bug")
        assert bench.events[-1] == "release"
        await until_s(5)
        assert bench.situation == ("collecting", "")
        assert bench.outbox.epoch == 2


@virtual_time
async def test_a_change_of_the_symbols_reaches_the_connection():
    bench = Bench()
    async with bench.running():
        await until_s(5)
        bench.symbols.change("MSFT", "NVDA")
        await until_s(6)

        assert bench.subscribed()[2:] == [("unsubscribe", "AAPL"), ("subscribe", "NVDA")]


@virtual_time
async def test_forced_symbols_replace_those_of_the_source_until_they_are_removed():
    """A change of the source has no effect meanwhile."""
    bench = Bench()
    async with bench.running():
        await until_s(5)
        bench.producer.set_symbols({"TSLA": None})
        await until_s(6)
        bench.symbols.change("MSFT")
        await until_s(7)
        assert bench.subscribed()[2:] == [
            ("unsubscribe", "AAPL"), ("unsubscribe", "MSFT"), ("subscribe", "TSLA"),
        ]  # fmt: skip
        bench.producer.set_symbols({})
        await until_s(8)
        assert bench.subscribed()[5:] == [("unsubscribe", "TSLA"), ("subscribe", "MSFT")]


@virtual_time
async def test_a_heartbeat_a_second_describes_the_connection():
    bench = Bench()
    async with bench.running():
        await until_s(2.5)
        bench.venue.socket.trade("AAPL")
        await until_s(3)
        bench.venue.socket.break_off()
        await until_s(4.5)
        bench.outbox.safe_at = at(4)
        await until_s(5.5)

        last = bench.beats.beats[-1]
        assert (last.feed, last.shard, last.epoch, last.holder) == ("sp500", 3, 1, "test")
        assert (last.wanted, last.confirmed, last.received, last.reconnects) == (2, 0, 1, 1)
        assert (last.connected, last.last_data_at) == (True, at(2.5))
        # The gap began before the moment up to which the outbox is complete.
        assert last.safe_at == at(2.5)
        assert len(bench.beats.beats) == 6


@virtual_time
@pytest.mark.parametrize("outbox_safe_at", [at(20), None], ids=["acknowledged", "no record yet"])
async def test_what_a_half_open_connection_did_not_deliver_is_not_safe(outbox_safe_at):
    """The next producer must report it if this one is killed before it notices."""
    bench = Bench()
    async with bench.running():
        await until_s(5)
        bench.venue.socket.half_open = True
        bench.outbox.safe_at = outbox_safe_at
        await until_s(20)
        assert bench.beats.beats[-1].connected
        assert bench.beats.beats[-1].safe_at == at(4)


@virtual_time
async def test_the_time_of_the_drain_is_not_safe():
    """The connection is closed before the drain, and the venue goes on sending."""
    bench = Bench()
    async with bench.running():
        await until_s(5)
        bench.outbox.drain_takes_s = 0.5
        bench.outbox.safe_at = at(6)
    assert bench.beats.beats[-1].state == "stopped"
    assert bench.beats.beats[-1].safe_at == at(4)


@virtual_time
async def test_a_gap_that_was_open_at_the_stop_is_not_reported_again():
    bench = Bench()
    async with bench.running():
        await until_s(5)
        bench.venue.refusals = [FeedUnavailable("no route")] * 9
        bench.venue.socket.break_off()
        await until_s(20)
        bench.outbox.safe_at = at(20)
    assert bench.outbox.gaps[-1].to_at == at(20)
    assert bench.beats.beats[-1].safe_at == at(20)


@virtual_time
async def test_before_its_first_lease_it_can_be_stopped(caplog):
    """This is not a failure."""
    bench = Bench()
    bench.leases.other_holder = True
    async with bench.running():
        await until_s(5)
        assert bench.producer.resubscribe(None) == []

    assert bench.events == ["let go", "close"]
    assert bench.situation[0] == "stopped"
    assert caplog.records == []
