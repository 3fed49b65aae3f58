"""Silence of a symbol or of the feed, in an open and a closed market."""

from ray_pipeline.stream.connection_ports import Clock
from tests.connection_bench import NEVER_OPEN, PING, Bench, trade_every_10_s
from tests.fake_feed import LIVENESS_S, running
from tests.virtual_time import at, now_s, until_s, virtual_time


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
