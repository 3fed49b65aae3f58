"""Subscriptions: only the difference, spaced, and again on request."""

from ray_pipeline.stream.connection_ports import Pauses
from ray_pipeline.stream.subscriber import REST_EVERY
from tests.connection_bench import Bench, symbols
from tests.fake_feed import LIVENESS_S
from tests.virtual_time import until_s, virtual_time


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
