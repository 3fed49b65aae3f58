"""Reading: data, complaints, floods, and what ends a gap or the back-off."""

import asyncio
import json

import pytest

from ray_pipeline.errors import FeedUnavailable
from ray_pipeline.stream.connection_ports import Pauses
from ray_pipeline.stream.frame_reader import (
    FLOOD_FRAMES,
    FLOOD_S,
    MOST_COMPLAINTS,
    SUSTAINED_S,
    YIELD_RECORDS,
)
from ray_pipeline.stream.liveness import ALWAYS_OPEN
from tests.connection_bench import NEVER_OPEN, PING, Bench
from tests.fake_feed import LIVENESS_S, running
from tests.virtual_time import at, now_s, until_s, virtual_time


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
