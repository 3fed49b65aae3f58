"""A collector against servers that misbehave: it survives, is polite, and says why."""

import asyncio
import contextlib
import json
import time
from random import Random

import pytest
from websockets.asyncio.server import serve as serve_websocket

from ray_pipeline.errors import FeedRefused, FeedUnavailable
from ray_pipeline.feeds import finnhub
from ray_pipeline.feeds.feed_registry import feed_named
from ray_pipeline.retry import Backoff
from ray_pipeline.storage import websocket
from ray_pipeline.storage.websocket import open_websocket
from ray_pipeline.stream.connection_ports import Clock, Pauses
from ray_pipeline.stream.frame_reader import FLOOD_FRAMES
from ray_pipeline.stream.gaps import GapBook
from ray_pipeline.stream.liveness import ALWAYS_OPEN, Liveness
from ray_pipeline.stream.venue_connection import Collector
from tests.fake_feed import FakeOutbox, FakePacer, make_intake, running
from tests.support import eventually

FRAME_LIMIT_BYTES = 2**20
PLAIN_OK = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"


class Bench:
    """A collector that connects to a URL."""

    def __init__(self, url: str, *, liveness_s: float = 60.0) -> None:
        self.outbox = FakeOutbox()
        intake = make_intake(self.outbox)
        self.collector = Collector(
            intake,
            feed_named("sp500").protocol.subscription,
            connect=lambda: open_websocket(
                finnhub.url(url, "key"), venue="finnhub", key="key",
                frame_limit_bytes=FRAME_LIMIT_BYTES,
            ),
            new_ticket=lambda: "ticket",
            pacer=FakePacer(),
            pauses=Pauses(subscribe_s=0.0, rest_s=0.0, liveness_s=liveness_s),
            liveness=Liveness(liveness_s=liveness_s, hours=ALWAYS_OPEN),
            backoff=Backoff(base_s=0.05, cap_s=0.2, random=Random(1)),
            gaps=GapBook(intake.notices.gap),
            clock=Clock(),
        )  # fmt: skip
        self.collector.want({"AAPL": None})

    async def cause(self, part: str) -> str:
        """Wait until the cause contains a text, and return it."""
        await eventually(
            lambda: part in self.collector.cause,
            timeout_s=60, what=f"the cause {part!r}, not {self.collector.cause!r}",
        )  # fmt: skip
        return self.collector.cause


@contextlib.asynccontextmanager
async def answering(*replies: bytes, hold: bool = False):
    """A server that answers every HTTP request with these bytes; yields its URL and the calls."""
    calls: list[bytes] = []
    writers: list[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            calls.append(await reader.readuntil(b"\r\n\r\n"))
            for reply in replies:
                writer.write(reply)
                await writer.drain()
            if hold:
                await reader.read()
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server:
        yield f"ws://127.0.0.1:{port}", calls
        for writer in writers:
            writer.close()


@contextlib.asynccontextmanager
async def speaking(handler):
    """A WebSocket server with a handler of the test's own."""
    async with serve_websocket(handler, "127.0.0.1", 0, max_size=None, compression=None) as server:
        yield f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"


def http(status: int, *headers: str, body: bytes = b"") -> bytes:
    lines = [f"HTTP/1.1 {status} X", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


@pytest.mark.parametrize("status", [400, 401, 403, 404, 418, 429, 500, 503])
async def test_a_refused_upgrade_is_named_with_its_status(status):
    """With what a person can do, where there is something."""
    async with answering(http(status, body=b"x" * 65_536)) as (url, _):
        bench = Bench(url)
        async with running(bench.collector.run()):
            cause = await bench.cause(f"refused with HTTP {status}")

    assert "fix:" in cause
    assert len(cause) < 400
    assert bench.collector.gaps.feed.kind == "refused"


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize(
    ("values", "requested", "wait_s"),
    [
        (["1e9"], "1e9", 3_600.0),
        (["inf"], "inf", 3_600.0),
        (["Fri, 31 Dec 2100 23:59:59 GMT"], "Fri, 31 Dec 2100", 3_600.0),
        (["5", "90"], "90", 90.0),
    ],
)
async def test_a_requested_pause_is_bounded_kept_and_named(status, values, requested, wait_s):
    headers = [f"Retry-After: {value}" for value in values]
    async with answering(http(status, *headers)) as (url, calls):
        bench = Bench(url)
        async with running(bench.collector.run()):
            cause = await bench.cause("the provider asked for")
            with pytest.raises(FeedRefused) as refused:
                async with open_websocket(url, venue="finnhub", frame_limit_bytes=1_000):
                    pass

    assert f"the provider asked for {requested}" in cause
    assert f"waiting {wait_s:g} s" in cause
    assert refused.value.retry_after_s == wait_s
    assert len(calls) == 2  # one of the collector, one of this test


@pytest.mark.parametrize("value", ["nan", "-5", "soon", "", "Wed, 23 Sep 1998 03:19:04 GMT"])
async def test_a_requested_pause_that_makes_no_sense_leaves_the_back_off(value):
    async with answering(http(429, f"Retry-After: {value}")) as (url, calls):
        bench = Bench(url)
        async with running(bench.collector.run()):
            await eventually(lambda: len(calls) >= 3, what="three attempts")


@pytest.mark.parametrize(
    ("replies", "part"),
    [
        ((http(302, "Location: ws://example.com/"),), "redirects from"),
        ((http(302, "Location: http://[bad"),), "cannot be read"),
        ((http(301, "Location: /"),), "cannot connect"),
        ((b"\x00\xff garbage\r\n\r\n",), "cannot connect"),
        ((PLAIN_OK + b"\r\n",), "cannot connect"),
        ((http(200, body=b"hello"),), "refused with HTTP 200"),
        ((b"HTTP/1.1 101 X\r\n" + b"A: b\r\n" * 100_000,), "cannot connect"),
        ((b"",), "cannot connect"),
    ],
)
async def test_an_answer_that_is_no_upgrade_is_named(replies, part):
    async with answering(*replies) as (url, calls):
        bench = Bench(url)
        async with running(bench.collector.run()):
            await bench.cause(part)
            await eventually(lambda: len(calls) >= 2, what="another attempt")


@pytest.mark.parametrize("replies", [(), (b"HTTP/1.1 101 Switch",)])
async def test_a_server_that_never_answers_is_given_up(replies, monkeypatch):
    monkeypatch.setattr(websocket, "OPEN_TIMEOUT_S", 0.3)
    async with answering(*replies, hold=True) as (url, _):
        bench = Bench(url)
        async with running(bench.collector.run()):
            await bench.cause("cannot connect")


@pytest.mark.parametrize("reason", ["bad\x00reason\x1b[31m", "x" * 120])
async def test_a_close_reason_is_made_storable(reason):
    async def close(connection) -> None:
        await connection.close(1008, reason)

    async with speaking(close) as url:
        bench = Bench(url)
        async with running(bench.collector.run()):
            cause = await bench.cause("closed by the provider with 1008")

    assert cause.isprintable()


async def test_a_frame_larger_than_the_limit_ends_the_connection_before_it_is_read():
    async def send(connection) -> None:
        with contextlib.suppress(Exception):
            await connection.send(b"x" * 100 * 2**20)

    async with speaking(send) as url:
        bench = Bench(url)
        async with running(bench.collector.run()):
            await bench.cause("1009")


async def test_garbage_frames_are_parked_up_to_a_flood():
    """Binary frames and text alike; then the connection ends, and the next one is slower."""

    async def send(connection) -> None:
        with contextlib.suppress(Exception):
            for number in range(3 * FLOOD_FRAMES):
                await connection.send(b"\x00\xff" if number % 2 else "garbage")
            await connection.wait_closed()

    async with speaking(send) as url:
        bench = Bench(url)
        async with running(bench.collector.run()):
            await bench.cause("unreadable frames")

    reasons = {record.reason for record in bench.outbox.records if hasattr(record, "reason")}
    assert reasons == {"not_json"}


async def test_a_trade_in_a_binary_frame_is_stored():
    trade = {"s": "AAPL", "p": 1.5, "v": 1, "t": int(time.time() * 1000)}

    async def send(connection) -> None:
        await connection.send(json.dumps({"type": "trade", "data": [trade]}).encode())
        await connection.wait_closed()

    async with speaking(send) as url:
        bench = Bench(url)
        async with running(bench.collector.run()):
            await eventually(lambda: bench.outbox.symbols == ["AAPL"], what="the trade")


async def test_a_slow_drip_without_data_is_a_stall():
    """A frame of which a byte arrives now and then never ends."""

    async def drip(connection) -> None:
        async def parts():
            while True:
                yield "x"
                await asyncio.sleep(0.05)

        with contextlib.suppress(Exception):
            await connection.send(parts())

    async with speaking(drip) as url:
        bench = Bench(url, liveness_s=0.5)
        async with running(bench.collector.run()):
            await bench.cause("no data of any symbol")


async def test_an_error_of_64_kb_is_shown_shortened():
    async def complain(connection) -> None:
        await connection.send(json.dumps({"type": "error", "msg": "no\x00 " + "x" * 65_536}))
        await connection.wait_closed()

    async with speaking(complain) as url:
        bench = Bench(url)
        async with running(bench.collector.run()):
            cause = await bench.cause("the provider says: no x")

    assert len(cause) < 400


async def test_a_failed_send_and_a_broken_read_name_the_cause():
    async def vanish(connection) -> None:
        connection.transport.abort()

    async with speaking(vanish) as url:
        with pytest.raises(FeedUnavailable, match=r"1006|broke"):
            async with open_websocket(url, venue="finnhub", frame_limit_bytes=1_000) as socket:
                await socket.receive()
