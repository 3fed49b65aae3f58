"""A client of a simulator: it keeps every frame it was sent, and asks for faults over HTTP."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp

from ray_pipeline.simulators.base import Simulator
from tests.support import eventually


class Client:
    """One WebSocket."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self.frames: list[str | bytes] = []
        self.closed_with: int | None = None

    async def say(self, message: object) -> None:
        """Send JSON, or a text as it is."""
        await self._socket.send_str(message if isinstance(message, str) else json.dumps(message))

    async def listen(self) -> None:
        """Keep what comes, until the end."""
        async for message in self._socket:
            self.frames.append(message.data)
        self.closed_with = self._socket.close_code

    def messages(self, type_: str) -> list[dict[str, Any]]:
        """Return the frames of one type."""
        return [one for one in map(json.loads, self.frames) if one.get("type") == type_]

    async def count(self, number: int) -> list[str | bytes]:
        """Wait until so many frames are there, and return them."""
        await eventually(lambda: len(self.frames) >= number, what=f"{number} frames")
        return self.frames

    async def closed(self) -> int:
        """Wait for the end of the connection and return its code."""
        await eventually(lambda: self.closed_with is not None, what="the end of the connection")
        return self.closed_with


@contextlib.asynccontextmanager
async def connected(url: str) -> AsyncIterator[Client]:
    """Connect and read everything for the length of a block."""
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(url, max_msg_size=0, heartbeat=None) as socket,
    ):
        client = Client(socket)
        listening = asyncio.create_task(client.listen())
        try:
            yield client
        finally:
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)


async def refusal(url: str) -> aiohttp.WSServerHandshakeError:
    """Return the answer to a connection that must be refused."""
    try:
        async with connected(url):
            raise AssertionError("the connection was accepted")
    except aiohttp.WSServerHandshakeError as error:
        return error


async def ask(simulator: Simulator, action: str, **values: object) -> None:
    """Ask for a fault as a person does, over the control endpoint."""
    status, answer = await control(simulator, action, values)
    assert status == 200, answer


async def control(simulator: Simulator, action: str, body: object) -> tuple[int, dict[str, Any]]:
    """Post to the control endpoint; return status and answer."""
    url = f"{simulator.control_url}/{action}"
    async with aiohttp.ClientSession() as session, session.post(url, json=body) as answer:
        return answer.status, await answer.json()


async def stats(simulator: Simulator) -> dict[str, Any]:
    """Return what the control endpoint tells."""
    url = f"{simulator.control_url}/stats"
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        return await answer.json()
