"""A connection to a venue: connecting, failures, pauses, and the gaps they leave."""

import asyncio

from ray_pipeline.errors import FeedRefused, FeedUnavailable
from tests.connection_bench import Bench, symbols, trade_every_10_s
from tests.fake_feed import running
from tests.virtual_time import at, until_s, virtual_time


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
async def test_a_removed_symbol_ends_its_gap():
    """No data will ever end it."""
    bench = Bench()
    async with bench.running("AAPL", "MSFT"), running(trade_every_10_s(bench, "MSFT")):
        await until_s(70.5)
        assert list(bench.collector.gaps.symbols) == ["AAPL"]
        bench.collector.want(symbols("MSFT"))

    assert [(gap.symbols, gap.to_at) for gap in bench.outbox.gaps] == [(["AAPL"], at(70.5))]


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
