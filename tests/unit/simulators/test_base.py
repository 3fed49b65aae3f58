"""Faults and the control endpoint, on a simulator with a protocol of two words."""

import asyncio
from collections.abc import AsyncIterator

import aiohttp
import pytest
from aiohttp import web

from ray_pipeline.simulators.base import Connection, Simulator
from ray_pipeline.simulators.options import Options
from ray_pipeline.simulators.recording import Frame
from tests.support import eventually


class Echo(Simulator):
    """Subscribes every client to the symbol that it sends."""

    def routes(self) -> list[web.RouteDef]:
        return [web.get("/", self._connect)]

    async def _connect(self, request: web.Request) -> web.StreamResponse:
        return await self.serve_socket(request, request.query.get("key", ""))

    async def on_text(self, connection: Connection, text: str) -> None:
        connection.symbols[text] = None

    async def send_generated(self, due: int) -> None:
        for connection in list(self.connections):
            for symbol in connection.symbols if due else ():
                await self.send_frame(connection, Frame(0, frozenset({symbol}), symbol, due))

    def fault_frame(self, kind: str, connection: Connection, size_bytes: int) -> str:
        if kind != "huge":
            raise ValueError("no such kind")
        return "x" * size_bytes


@pytest.fixture
async def echo() -> AsyncIterator[Echo]:
    async with Echo(Options(rate=1000.0)) as simulator:
        yield simulator


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


@pytest.fixture
async def client(echo, session) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
    async with session.ws_connect(f"http://127.0.0.1:{echo.port}/?key=k") as client:
        await client.send_str("AAPL")
        yield client


async def test_records_are_counted_when_they_are_sent(echo, client):
    assert (await client.receive()).data == "AAPL"

    stats = echo.stats()
    assert stats.sent == stats.sent_by_symbol["AAPL"] > 0
    assert stats.connections == stats.accepted == 1
    assert list(stats.symbols_by_key.values()) == [["AAPL"]]
    assert "k" not in stats.symbols_by_key


async def test_a_silence_is_not_followed_by_a_burst(echo, client):
    await client.receive()
    await echo.do_silence()
    await asyncio.sleep(0.05)  # a send that has begun still ends
    before = echo.stats().sent
    await asyncio.sleep(0.5)
    assert echo.stats().sent == before

    await echo.do_silence(on=False)
    await eventually(lambda: echo.stats().sent > before, what="data again")

    assert echo.stats().sent - before < 300


async def test_a_second_connection_with_a_key_ends_the_first(echo, client, session):
    async with session.ws_connect(f"http://127.0.0.1:{echo.port}/?key=k"):
        async for _ in client:
            pass

    assert client.close_code == 1008


async def test_refusals_are_counted_down(echo, session):
    await echo.do_refuse(status=429, retry_after_s=5.0, count=1)

    with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
        await session.ws_connect(f"http://127.0.0.1:{echo.port}/")
    async with session.ws_connect(f"http://127.0.0.1:{echo.port}/"):
        pass

    assert caught.value.status == 429
    assert caught.value.headers["Retry-After"] == "5"
    assert echo.stats().refused == 1


@pytest.mark.parametrize(
    ("action", "body", "status", "text"),
    [
        ("rate", {"rate": 5.0}, 200, '"done": "rate"'),
        ("explode", {}, 404, "'close', 'drop'"),
        ("rate", {"speed": 5.0}, 400, "speed"),
        ("frame", {"kind": "small"}, 400, "no such kind"),
    ],
)
async def test_the_control_endpoint_answers_with_what_happened(
    echo, client, session, action, body, status, text
):
    async with session.post(f"{echo.control_url}/{action}", json=body) as answer:
        assert answer.status == status
        assert text in await answer.text()

    assert echo.stats().faults == (1 if status == 200 else 0)
