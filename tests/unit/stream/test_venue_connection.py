"""A connection to a venue: subscribing, reading, silence, failures, and the gaps they leave."""

import asyncio
import json

import pytest

from ray_pipeline.errors import FeedRefused, FeedUnavailable
from ray_pipeline.stream.connection_ports import Clock, Pauses
from ray_pipeline.stream.frame_reader import (
    FLOOD_FRAMES,
    FLOOD_S,
    MOST_COMPLAINTS,
    SUSTAINED_S,
    YIELD_RECORDS,
)
from ray_pipeline.stream.liveness import ALWAYS_OPEN, MarketHours
from ray_pipeline.stream.subscriber import REST_EVERY
from tests.fake_feed import (
    LIVENESS_S,
    FakeOutbox,
    FakePacer,
    FakeVenue,
    make_collector,
    make_intake,
    running,
)
from tests.virtual_time import at, now_s, until_s, virtual_time

NEVER_OPEN = MarketHours(())
PING = b'{"type":"ping"}'


def symbols(*names: str) -> dict[str, None]:
    """Symbols without a category."""
    return dict.fromkeys(names)


class Bench:
    """A collector with a venue and an outbox of a test's own."""

    def __init__(
        self,
        *,
        hours: MarketHours = ALWAYS_OPEN,
        pauses: Pauses | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.venue, self.outbox, self.pacer = FakeVenue(), FakeOutbox(), FakePacer()
        self.intake = make_intake(self.outbox)
        self.collector = make_collector(
            self.venue, self.intake, pacer=self.pacer, hours=hours, pauses=pauses, clock=clock
        )

    def running(self, *names: str):
        """Collect these symbols for the length of a block."""
        self.collector.want(symbols(*names))
        return running(self.collector.run())

    @property
    def gap_summaries(self) -> list[tuple]:
        """Kind, symbols, start and end of each reported gap."""
        return [(gap.gap_kind, gap.symbols, gap.from_at, gap.to_at) for gap in self.outbox.gaps]


async def trade_every_10_s(bench: Bench, name: str) -> None:
    """Let a trade of a symbol arrive whenever the collector is connected."""
    while True:
        if bench.collector.connected:
            bench.venue.socket.trade(name)
        await asyncio.sleep(10)


@virtual_time
async def test_the_desired_symbols_are_subscribed_and_collected():
    bench = Bench()
    async with bench.running("AAPL", "MSFT"):
        await until_s(0.5)
        assert bench.venue.socket.sent == [("subscribe", "AAPL"), ("subscribe", "MSFT")]
        bench.venue.socket.trade("AAPL", "MSFT")
        await until_s(1.5)

        assert (bench.collector.state, bench.collector.cause) == ("collecting", "")
        assert bench.collector.connected
        assert bench.collector.subscriptions.confirmed == 2

    assert bench.outbox.symbols == ["AAPL", "MSFT"]
    assert bench.outbox.gaps == []
    assert not bench.collector.connected


@virtual_time
async def test_a_change_sends_only_the_difference():
    """A symbol that stays is not interrupted. The symbols that go make room first."""
    bench = Bench()
    async with bench.running("AAPL", "MSFT"):
        await until_s(0.5)
        bench.collector.want(symbols("MSFT", "NVDA"))
        await until_s(1.5)

        assert bench.venue.socket.sent[2:] == [("unsubscribe", "AAPL"), ("subscribe", "NVDA")]
        assert len(bench.venue.sockets) == 1


@virtual_time
async def test_subscriptions_are_spaced_with_a_longer_rest_after_every_twentieth():
    """The venue closes a connection that subscribes too fast."""
    bench = Bench(pauses=Pauses(subscribe_s=1.0, rest_s=10.0, liveness_s=LIVENESS_S))
    async with bench.running(*(f"S{number:02d}" for number in range(REST_EVERY + 1))):
        await until_s(50.5)

        *spaced, rested = bench.venue.socket.sent_at_s
        assert spaced == [float(second) for second in range(REST_EVERY)]
        assert rested == REST_EVERY - 1 + 10.0


@virtual_time
async def test_it_reconnects_with_back_off_and_reports_one_gap_from_the_last_data_to_the_return():
    """The failures of one outage are one gap, with every cause."""
    bench = Bench()
    async with bench.running("AAPL"):
        await until_s(10)
        bench.venue.socket.trade("AAPL")
        await until_s(12)
        bench.venue.refusals = [FeedUnavailable("no route"), FeedUnavailable("no route")]
        bench.venue.socket.break_off()
        await until_s(12.5)
        assert bench.collector.state == "disconnected"
        assert bench.collector.cause == "the connection broke"
        await until_s(25)
        assert bench.outbox.gaps == []
        bench.venue.socket.trade("AAPL")
        await until_s(26)

    assert bench.venue.attempts_at_s == [0, 12 + 1, 12 + 1 + 2, 12 + 1 + 2 + 4]
    assert bench.pacer.turns == 4
    assert bench.venue.sockets[1].sent == [("subscribe", "AAPL")]
    assert bench.gap_summaries == [("disconnected", None, at(10), at(25))]
    assert bench.outbox.gaps[0].cause == "the connection broke; then no route"


@virtual_time
@pytest.mark.parametrize("trades", [0, 1, 3])
async def test_the_back_off_starts_again_only_after_sustained_data(trades):
    """A server that closes, also after a few trades, must not be called at full speed."""
    bench = Bench()
    async with bench.running("AAPL"):
        for second in (0.25, 1.5, 3.75):
            await until_s(second)
            for _ in range(trades):
                bench.venue.socket.trade("AAPL")
            bench.venue.socket.break_off()
        await until_s(7.75 + SUSTAINED_S)
        bench.venue.socket.trade("AAPL")
        bench.venue.socket.break_off()
        await until_s(12 + SUSTAINED_S)

    assert bench.venue.attempts_at_s == [0, 0.25 + 1, 1.5 + 2, 3.75 + 4, 7.75 + SUSTAINED_S + 1]


@virtual_time
async def test_a_server_that_closes_after_each_trade_is_called_ever_more_slowly():
    bench = Bench()

    async def close_after_a_trade() -> None:
        closed = 0
        while True:
            if len(bench.venue.sockets) > closed:
                bench.venue.socket.trade("AAPL")
                bench.venue.socket.break_off()
                closed += 1
            await asyncio.sleep(0.1)

    async with bench.running("AAPL"), running(close_after_a_trade()):
        await until_s(20)

    assert len(bench.venue.attempts_at_s) == 5  # after 1, 2, 4 and 8 seconds
    assert len(bench.outbox.symbols) == 5


@virtual_time
async def test_a_refusal_is_reported_and_its_pause_is_kept():
    """The venue asks for more time than the back-off would give it."""
    bench = Bench()
    bench.venue.refusals = [FeedRefused("too many connections", retry_after_s=30.0)]
    async with bench.running("AAPL"):
        await until_s(29)
        assert len(bench.venue.attempts_at_s) == 1
        assert bench.collector.cause == "too many connections"
        await until_s(31)
        bench.venue.socket.trade("AAPL")
        await until_s(32)

    assert bench.venue.attempts_at_s == [0, 30]
    assert bench.gap_summaries == [("refused", None, at(0), at(31))]


@virtual_time
async def test_a_stall_in_an_open_market_ends_the_connection():
    """Only the missing data shows it: the venue still sends pings."""
    bench = Bench()
    async with bench.running("AAPL"):
        await until_s(10.5)
        bench.venue.socket.trade("AAPL")
        await until_s(65)
        bench.venue.socket.deliver(PING)
        assert len(bench.venue.sockets) == 1
        await until_s(75)
        assert len(bench.venue.sockets) == 2
        assert bench.venue.closed == 1
        bench.venue.socket.trade("AAPL")
        await until_s(76)

    assert bench.gap_summaries == [("stalled", None, at(10.5), at(75))]
    assert "though the market is open" in bench.outbox.gaps[0].cause


@virtual_time
async def test_a_process_that_was_suspended_takes_what_waits_before_it_judges_the_silence():
    """When it continues, the check for silence may run before the first frame is read."""
    suspended_s = 0.0
    # The clocks go on while the process is suspended, and its timers do not.
    clock = Clock(lambda: at(now_s() + suspended_s), lambda: now_s() + suspended_s)
    bench = Bench(clock=clock)
    async with bench.running("AAPL"):
        await until_s(0.5)
        bench.venue.socket.trade("AAPL")
        await until_s(5.5)
        suspended_s = LIVENESS_S + 10
        await until_s(7.5)
        bench.venue.socket.trade("AAPL")
        await until_s(30)
        assert bench.collector.connected
        assert len(bench.venue.sockets) == 1
        assert bench.outbox.symbols == ["AAPL", "AAPL"]
        await until_s(7.5 + LIVENESS_S + 5)

    assert len(bench.venue.sockets) == 2  # a silence after it is a stall as ever


@virtual_time
async def test_silence_in_a_closed_market_is_no_stall():
    bench = Bench(hours=NEVER_OPEN)
    async with bench.running("AAPL"):
        await until_s(10 * LIVENESS_S)

        assert bench.collector.state == "collecting"

    assert bench.venue.attempts_at_s == [0]
    assert bench.outbox.gaps == []


@virtual_time
async def test_a_silent_symbol_is_subscribed_again_and_its_silence_is_reported():
    """The other symbols are not interrupted."""
    bench = Bench()
    async with bench.running("AAPL", "MSFT"), running(trade_every_10_s(bench, "MSFT")):
        await until_s(5.5)
        bench.venue.socket.trade("AAPL")
        await until_s(70.5)
        assert bench.venue.socket.sent[2:] == [("subscribe", "AAPL")]
        bench.venue.socket.trade("AAPL")
        await until_s(71.5)

    assert bench.gap_summaries == [("stalled", ["AAPL"], at(5.5), at(70.5))]
    assert len(bench.venue.sockets) == 1


@virtual_time
async def test_a_symbol_that_stays_silent_costs_a_reconnect_if_it_had_data_before():
    """Subscribing again did not help, so the connection itself is suspected."""
    bench = Bench()
    async with bench.running("AAPL", "MSFT"), running(trade_every_10_s(bench, "MSFT")):
        await until_s(5.5)
        bench.venue.socket.trade("AAPL")
        await until_s(300)

        assert len(bench.venue.sockets) == 2
    feed_gaps = [gap for gap in bench.outbox.gaps if gap.symbols is None]
    assert [gap.cause for gap in feed_gaps] == ["still no data of AAPL after subscribing again"]


@virtual_time
async def test_a_symbol_that_never_had_data_costs_no_reconnect():
    """It may not exist; the venue does not say."""
    bench = Bench()
    async with bench.running("GONE", "MSFT"), running(trade_every_10_s(bench, "MSFT")):
        await until_s(1_000)

        assert bench.venue.socket.sent.count(("subscribe", "GONE")) > 1
        assert len(bench.venue.sockets) == 1


@virtual_time
async def test_a_removed_symbol_ends_its_gap():
    """No data will ever end it."""
    bench = Bench()
    async with bench.running("AAPL", "MSFT"), running(trade_every_10_s(bench, "MSFT")):
        await until_s(70.5)
        assert list(bench.collector.gaps.symbols) == ["AAPL"]
        bench.collector.want(symbols("MSFT"))

    assert [(gap.symbols, gap.to_at) for gap in bench.outbox.gaps] == [(["AAPL"], at(70.5))]


@virtual_time
async def test_a_refused_subscription_is_reported_once_per_connection():
    """The venue repeats its complaint; the accepted symbols are still collected."""
    bench = Bench()
    complaint = b'{"type":"error","msg":"too many symbols"}'
    async with bench.running("AAPL"):
        await until_s(1)
        bench.venue.socket.deliver(complaint)
        bench.venue.socket.deliver(complaint)
        await until_s(2)
        assert bench.collector.state == "collecting"
        assert bench.collector.cause == "the provider says: too many symbols"
        assert bench.gap_summaries == [("refused", None, at(1), at(1))]
        bench.venue.socket.trade("AAPL")
        bench.venue.socket.break_off()
        await until_s(4)
        bench.venue.socket.deliver(complaint)
        await until_s(5)

    assert bench.outbox.symbols == ["AAPL"]
    assert [gap.from_at for gap in bench.outbox.gaps if gap.gap_kind == "refused"] == [at(1), at(4)]


@virtual_time
async def test_a_gap_continues_until_every_symbol_is_subscribed():
    """Data of the first symbol does not prove that the last one is collected."""
    bench = Bench(pauses=Pauses(subscribe_s=10.0, rest_s=10.0, liveness_s=LIVENESS_S))
    bench.venue.refusals = [FeedUnavailable("no route")]
    async with bench.running("AAPL", "MSFT"):
        await until_s(2)
        bench.venue.socket.trade("AAPL")
        await until_s(5)
        assert bench.outbox.gaps == []
        await until_s(12)
        bench.venue.socket.trade("AAPL")
        await until_s(13)

    assert bench.gap_summaries == [("disconnected", None, at(0), at(12))]


@virtual_time
async def test_only_in_a_closed_market_a_frame_without_data_ends_a_gap():
    """A closed market sends no data until the morning."""
    ends = {}
    for hours in (ALWAYS_OPEN, NEVER_OPEN):
        bench = Bench(hours=hours)
        bench.venue.refusals = [FeedUnavailable("no route")]
        start_s = now_s()
        async with bench.running("AAPL"):
            await until_s(start_s + 2)
            bench.venue.socket.deliver(PING)
            await until_s(start_s + 3)
        ends[hours] = [gap.to_at for gap in bench.outbox.gaps]

    assert ends == {ALWAYS_OPEN: [], NEVER_OPEN: [at(5)]}


@virtual_time
async def test_without_symbols_it_does_not_connect():
    """The venue closes connections that request nothing."""
    bench = Bench()
    async with bench.running():
        await until_s(30)
        assert bench.collector.state == "no_symbols"
        assert bench.venue.attempts_at_s == []
        bench.collector.want(symbols("AAPL"))
        await until_s(31)

    assert bench.venue.attempts_at_s == [30]


@virtual_time
async def test_a_pause_disconnects_and_is_reported_as_a_gap():
    bench = Bench()
    async with bench.running("AAPL"):
        await until_s(5)
        bench.collector.pause()
        await until_s(20)
        assert (bench.collector.state, bench.collector.connected) == ("paused", False)
        assert bench.venue.closed == 1
        bench.collector.resume()
        await until_s(22)
        bench.venue.socket.trade("AAPL")
        await until_s(23)

    assert bench.venue.attempts_at_s == [0, 20]
    # The last proof that the connection is complete was two seconds old, or less.
    assert bench.gap_summaries == [("paused", None, at(4), at(22))]


@virtual_time
async def test_a_pause_that_ends_before_the_connection_is_closed_is_reported_as_a_gap():
    bench = Bench()
    async with bench.running("AAPL"):
        await until_s(5)
        bench.collector.pause()
        bench.collector.resume()
        await until_s(7)
        bench.venue.socket.trade("AAPL")
        await until_s(8)

    assert len(bench.venue.sockets) == 2
    assert bench.gap_summaries == [("paused", None, at(4), at(7))]


@virtual_time
async def test_pings_prove_up_to_when_a_quiet_connection_is_complete():
    bench = Bench(hours=NEVER_OPEN)
    async with bench.running("AAPL"):
        assert bench.collector.complete_until is None
        await until_s(1)
        assert bench.collector.complete_until == at(0)
        await until_s(61)
        assert bench.collector.complete_until == at(60)


@virtual_time
async def test_a_connection_without_answers_to_pings_is_complete_up_to_the_last_answer():
    """The venue may have sent more that did not arrive; an older frame proves nothing newer."""
    bench = Bench(hours=NEVER_OPEN)
    async with bench.running("AAPL"):
        await until_s(5)
        bench.venue.socket.half_open = True
        bench.venue.socket.trade("AAPL")
        await until_s(20)
        assert bench.collector.complete_until == at(4)


@virtual_time
async def test_an_answer_to_a_ping_proves_nothing_while_older_frames_wait():
    bench = Bench()
    async with bench.running("AAPL"):
        await until_s(1)
        ping, socket = bench.venue.socket.ping, bench.venue.socket

        async def ping_behind_frames() -> None:
            await ping()
            for _ in range(3 * YIELD_RECORDS):
                socket.trade("AAPL")

        socket.ping = ping_behind_frames
        await until_s(2)
        while bench.collector.complete_until == at(0):
            assert now_s() == 2
            await asyncio.sleep(0)
        assert len(bench.outbox.records) == 3 * YIELD_RECORDS


@virtual_time
async def test_the_end_of_a_connection_that_lagged_opens_its_gap_at_the_last_proof():
    """Frames that are newer than the last one that was read were lost with the socket."""
    bench = Bench(hours=NEVER_OPEN)
    async with bench.running("AAPL"):
        await until_s(5)
        bench.venue.socket.half_open = True
        await until_s(20)
        bench.venue.socket.trade("AAPL")
        bench.venue.socket.break_off()
        await until_s(25)
        bench.venue.socket.trade("AAPL")
        await until_s(26)

    assert bench.gap_summaries == [("disconnected", None, at(4), at(25))]


@virtual_time
async def test_resubscribing_sends_the_desired_symbols_again():
    """A symbol of another shard is not subscribed."""
    bench = Bench()
    async with bench.running("AAPL", "MSFT"):
        await until_s(1)
        assert bench.collector.resubscribe(["MSFT", "OTHER"]) == ["MSFT"]
        await until_s(2)
        assert bench.venue.socket.sent[2:] == [("subscribe", "MSFT")]
        assert bench.collector.resubscribe(None) == ["AAPL", "MSFT"]
        await until_s(3)
        assert bench.venue.socket.sent[3:] == [("subscribe", "AAPL"), ("subscribe", "MSFT")]


@virtual_time
async def test_data_that_was_not_requested_is_stored_and_counted():
    bench = Bench()
    async with bench.running("AAPL"):
        await until_s(1)
        bench.venue.socket.trade("STRANGER")
        await until_s(2)

    assert bench.outbox.symbols == ["STRANGER"]
    assert bench.intake.notices.counts.unsubscribed == 1


@virtual_time
async def test_a_socket_with_a_full_buffer_lets_other_tasks_run():
    """Otherwise the lease would not be renewed. A queue that is not empty never waits."""
    bench = Bench()
    async with bench.running("AAPL"):
        await until_s(1)
        for _ in range(4 * YIELD_RECORDS):
            bench.venue.socket.trade("AAPL")
        stored_at_each_turn = []
        while len(bench.outbox.records) < 4 * YIELD_RECORDS:
            await asyncio.sleep(0)
            stored_at_each_turn.append(len(bench.outbox.records))

    assert YIELD_RECORDS in stored_at_each_turn


@virtual_time
async def test_a_pause_without_symbols_is_a_pause_at_once():
    """Symbols that arrive meanwhile must not connect."""
    bench = Bench()
    async with bench.running():
        await until_s(5)
        bench.collector.pause()
        await until_s(6)
        assert bench.collector.state == "paused"
        bench.collector.want(symbols("AAPL"))
        await until_s(20)
        assert bench.venue.attempts_at_s == []
        bench.collector.resume()
        await until_s(22)

    assert bench.venue.attempts_at_s == [20]


@virtual_time
async def test_a_pause_during_the_back_off_is_a_pause_at_once_and_shortens_no_wait():
    """The venue asked for the time; the pause does not change that."""
    bench = Bench()
    bench.venue.refusals = [FeedRefused("too many connections", retry_after_s=100.0)]
    async with bench.running("AAPL"):
        await until_s(10)
        bench.collector.pause()
        await until_s(11)
        assert bench.collector.state == "paused"
        bench.collector.resume()
        await until_s(12)
        assert bench.collector.state == "disconnected"
        await until_s(101)

    assert bench.venue.attempts_at_s == [0, 100]


@virtual_time
async def test_a_pause_during_the_turn_of_the_pacer_does_not_connect():
    bench = Bench()

    class SlowPacer:
        async def turn(self) -> None:
            await asyncio.sleep(10)

    bench.collector._pacer = SlowPacer()
    async with bench.running("AAPL"):
        await until_s(5)
        bench.collector.pause()
        await until_s(30)

    assert bench.venue.attempts_at_s == []


@virtual_time
async def test_a_flood_of_unreadable_frames_ends_the_connection():
    """Each of them is a dead letter: without an end they would fill the disk."""
    bench = Bench()
    async with bench.running("AAPL"):
        await until_s(1)
        for _ in range(2 * FLOOD_FRAMES):
            bench.venue.socket.deliver(b"\x00\xff")
        await until_s(1.5)
        assert bench.collector.cause.startswith(f"{FLOOD_FRAMES} unreadable frames")
        await until_s(2)

    assert len(bench.outbox.records) == FLOOD_FRAMES


@virtual_time
async def test_unreadable_frames_between_data_or_at_the_usual_pace_are_all_kept():
    """A later release may read them."""
    bench = Bench()
    async with bench.running("AAPL"):
        await until_s(1)
        for _ in range(3):
            for _ in range(FLOOD_FRAMES - 1):
                bench.venue.socket.deliver(b"oops")
            bench.venue.socket.trade("AAPL")
        await until_s(2)
        for second in range(3):
            for _ in range(FLOOD_FRAMES - 1):
                bench.venue.socket.deliver(b"oops")
            await until_s(2 + (second + 1) * (FLOOD_S + 1))

        assert len(bench.venue.sockets) == 1


@virtual_time
async def test_texts_of_the_venue_are_bounded_and_can_be_stored():
    """A close reason with a NUL, and complaints that never repeat."""
    bench = Bench()
    async with bench.running("AAPL"):
        await until_s(1)
        for number in range(2 * MOST_COMPLAINTS):
            message = {"type": "error", "msg": f"{number}\x00" + "x" * 65_536}
            bench.venue.socket.deliver(json.dumps(message).encode())
        await until_s(2)
        assert len(bench.outbox.gaps) == MOST_COMPLAINTS
        bench.venue.socket.break_off(FeedUnavailable("closed with 1008 bad\x00\nreason"))
        await until_s(2.5)

        assert bench.collector.cause == "closed with 1008 bad reason"
    assert all(len(gap.cause) < 400 and "\x00" not in gap.cause for gap in bench.outbox.gaps)
