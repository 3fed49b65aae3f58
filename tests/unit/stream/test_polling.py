"""Polling over REST: a snapshot at the start, and a replacement while the WebSocket is down."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence

import pytest

from ray_pipeline.errors import FeedRefused, FeedUnavailable
from ray_pipeline.feeds.feed_registry import feed_named
from ray_pipeline.retry import Backoff
from ray_pipeline.stream.exclusions import Exclusions
from ray_pipeline.stream.polling import Poller
from tests.fake_feed import (
    FakeOutbox,
    FakeVenue,
    LongestPause,
    make_collector,
    make_intake,
    running,
)
from tests.virtual_time import START, at, now_s, until_s, virtual_clock, virtual_time

PAUSE_S = 10.0
REMARK = "polled over REST every 10 s meanwhile"


class FakeSource:
    """A REST API that answers each symbol on its own, with a newer time in each round."""

    def __init__(self) -> None:
        self.rounds_at_s: list[float] = []
        self.requested: list[Sequence[str]] = []
        self.failures: list[Exception] = []
        self.answer_s = 0.0
        self.exclusions = Exclusions()

    async def records(self, symbols: Sequence[str]) -> AsyncIterator[Sequence[object]]:
        self.rounds_at_s.append(now_s())
        self.requested.append(symbols)
        event_ms = int((START.timestamp() + now_s()) * 1000)
        for index, symbol in enumerate(symbols):
            if index == len(symbols) - 1 and self.failures:
                raise self.failures.pop(0)
            await asyncio.sleep(self.answer_s)
            frame = {
                "type": "ticker", "code": symbol, "timestamp": event_ms, "trade_price": 1,
            }  # fmt: skip
            yield feed_named("bithumb").protocol.parse(json.dumps(frame).encode())


class Bench:
    """A poller; its collector is never connected, so only the test opens and closes gaps."""

    def __init__(self, *symbols: str, cap_s: float = PAUSE_S) -> None:
        self.source, self.outbox = FakeSource(), FakeOutbox()
        intake = make_intake(self.outbox, "bithumb")
        self.collector = make_collector(FakeVenue(), intake, feed="bithumb")
        self.collector.want(dict.fromkeys(symbols))
        self.poller = Poller(
            self.source,
            intake,
            self.collector,
            pause_s=PAUSE_S,
            clock=virtual_clock(),
            backoff=Backoff(base_s=PAUSE_S, cap_s=cap_s, random=LongestPause()),
        )

    def lose_the_websocket(self) -> None:
        """Open the gap of a lost connection."""
        self.collector.gaps.open("disconnected", "the connection broke", from_at=at(now_s()))

    @property
    def markets(self) -> list[str]:
        """The market of each stored ticker."""
        return [record.market for record in self.outbox.records]


@virtual_time
async def test_it_takes_one_snapshot_at_the_start():
    """The WebSocket sends only what changes from then on."""
    bench = Bench("KRW-BTC", "KRW-ETH")
    async with running(bench.poller.run()):
        await until_s(95)

    assert bench.source.requested == [("KRW-BTC", "KRW-ETH")]
    assert bench.markets == ["KRW-BTC", "KRW-ETH"]


@virtual_time
@pytest.mark.parametrize("failure", [FeedUnavailable("no route"), FeedRefused("too many requests")])
async def test_an_incomplete_snapshot_is_repeated(failure):
    """The next round requests every symbol again."""
    bench = Bench("KRW-BTC", "KRW-ETH")
    bench.source.failures = [failure]
    async with running(bench.poller.run()):
        await until_s(5)
        assert bench.markets == ["KRW-BTC"]
        await until_s(95)

    assert bench.source.rounds_at_s == [0, PAUSE_S]
    assert bench.markets == ["KRW-BTC", "KRW-BTC", "KRW-ETH"]


@virtual_time
async def test_the_snapshot_waits_for_the_first_symbols():
    """A round without symbols has requested nothing."""
    bench = Bench()
    async with running(bench.poller.run()):
        await until_s(25)
        assert bench.markets == []
        bench.collector.want({"KRW-BTC": None})
        await until_s(95)

    assert bench.markets == ["KRW-BTC"]


@virtual_time
async def test_it_replaces_the_websocket_until_data_arrives_again():
    """The gap says so once: its records are not ticks but samples."""
    bench = Bench("KRW-BTC")
    async with running(bench.poller.run()):
        await until_s(15)
        bench.lose_the_websocket()
        await until_s(45)
        bench.collector.gaps.close(to_at=at(45))
        await until_s(95)

    assert bench.source.rounds_at_s == [0, 20, 30, 40]
    (gap,) = bench.outbox.gaps
    assert gap.cause == f"the connection broke; {REMARK}"


@virtual_time
async def test_a_gap_during_which_no_round_succeeds_has_no_remark():
    """It would promise records that do not exist."""
    bench = Bench("KRW-BTC")
    async with running(bench.poller.run()):
        await until_s(15)
        bench.lose_the_websocket()
        bench.source.failures = [FeedUnavailable("no route")] * 3
        await until_s(45)
        bench.collector.gaps.close(to_at=at(45))

    assert bench.source.failures == []
    assert bench.outbox.gaps[0].cause == "the connection broke"


@virtual_time
async def test_a_paused_collector_is_not_replaced():
    """The pause was requested: it must stop every request to the venue."""
    bench = Bench("KRW-BTC")
    async with running(bench.poller.run()):
        await until_s(15)
        bench.collector.pause()
        bench.lose_the_websocket()
        await until_s(45)
        assert bench.source.rounds_at_s == [0]
        bench.collector.resume()
        await until_s(55)

    assert bench.source.rounds_at_s == [0, 50]


@virtual_time
async def test_a_pause_in_the_middle_of_a_round_stops_its_further_calls():
    bench = Bench("KRW-BTC", "KRW-ETH", "KRW-XRP")
    bench.source.answer_s = 1.0
    async with running(bench.poller.run()):
        await until_s(1.5)
        bench.collector.pause()
        await until_s(100)
        assert bench.markets == ["KRW-BTC"]
        bench.collector.resume()
        await until_s(120)

    assert bench.markets == ["KRW-BTC", "KRW-BTC", "KRW-ETH", "KRW-XRP"]


@virtual_time
async def test_a_producer_that_starts_paused_requests_no_snapshot():
    """It takes the snapshot after the pause."""
    bench = Bench("KRW-BTC")
    bench.collector.pause()
    async with running(bench.poller.run()):
        await until_s(45)
        assert bench.source.rounds_at_s == []
        bench.collector.resume()
        await until_s(95)

    assert bench.source.rounds_at_s == [50]


@virtual_time
async def test_failed_rounds_are_repeated_ever_more_slowly():
    """A venue that is down recovers sooner without a call every few seconds."""
    bench = Bench("KRW-BTC", cap_s=40.0)
    bench.source.failures = [FeedUnavailable("no route")] * 4
    async with running(bench.poller.run()):
        await until_s(5)
        assert bench.poller.cause == "no route"
        await until_s(195)

    assert bench.source.rounds_at_s == [0, 10, 30, 70, 110]
    assert bench.poller.cause == ""


@virtual_time
async def test_a_requested_pause_is_kept():
    """The venue said when to come back."""
    bench = Bench("KRW-BTC")
    bench.source.failures = [FeedRefused("too many requests", retry_after_s=100.0)]
    async with running(bench.poller.run()):
        await until_s(195)

    assert bench.source.rounds_at_s == [0, 100]
