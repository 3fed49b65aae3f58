"""HTTP libraries make exactly the request that they are told to make."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import aiohttp
import pytest
from curl_cffi.requests import AsyncSession
from curl_cffi.requests.exceptions import RequestException, Timeout

from ray_pipeline.transport.counted import SINGLE_REQUEST, curl_timeouts, never_repeat


class DroppingServer:
    """Answers each first request of a connection `answers` times, then closes it unanswered."""

    def __init__(self, answers: int) -> None:
        self._answers = answers
        self.received = 0
        self.url = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while await reader.readuntil(b"\r\n\r\n"):
                self.received += 1
                if self.received > self._answers:
                    break
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
                await writer.drain()
        writer.close()


@contextlib.asynccontextmanager
async def dropping(answers: int) -> AsyncIterator[DroppingServer]:
    server = DroppingServer(answers)
    listener = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    server.url = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
    async with listener:
        yield server


@pytest.mark.parametrize("answers", [0, 1])
async def test_aiohttp_does_not_repeat_a_dropped_request(answers):
    """On a new connection, and on one that has been used."""
    async with (
        dropping(answers) as server,
        aiohttp.ClientSession(middlewares=(never_repeat,)) as session,
    ):
        for _ in range(answers):
            async with session.get(server.url) as response:
                assert await response.text() == "{}"
        with pytest.raises(aiohttp.ClientConnectionError, match="ServerDisconnectedError"):
            await session.get(server.url)

    assert server.received == answers + 1


async def test_libcurl_does_not_repeat_a_dropped_request():
    async with (
        dropping(1) as server,
        AsyncSession(curl_options=SINGLE_REQUEST) as session,
    ):
        await session.get(server.url)
        with pytest.raises(RequestException):
            await session.get(server.url)

    assert server.received == 2


async def test_a_refused_connection_keeps_its_class():
    """It was not sent, so the call cannot arrive later."""
    async with aiohttp.ClientSession(middlewares=(never_repeat,)) as session:
        with pytest.raises(aiohttp.ClientConnectorError):
            await session.get("http://127.0.0.1:9")


def test_a_timeout_of_libcurl_is_a_timeout():
    with pytest.raises(TimeoutError), curl_timeouts():
        raise Timeout("no answer", 28)
