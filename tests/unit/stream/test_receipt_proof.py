"""Pings prove up to when everything was received."""

import asyncio

from ray_pipeline.stream.frame_reader import (
    YIELD_RECORDS,
)
from tests.connection_bench import NEVER_OPEN, Bench
from tests.virtual_time import at, now_s, until_s, virtual_time


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
