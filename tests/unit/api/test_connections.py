"""Every step of an HTTP connection has a deadline."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
import uvicorn
from uvicorn.server import ServerState

from ray_pipeline.api.connections import KEEP_ALIVE_S, REQUEST_S, RESPONSE_S, BoundedProtocol


class Timer:
    """A callback that is due after a while, unless it was cancelled."""

    def __init__(self, delay_s: float, callback: Callable[[], None]) -> None:
        self.delay_s = delay_s
        self.callback = callback
        self.is_cancelled = False

    def cancel(self) -> None:
        self.is_cancelled = True


class Loop:
    """An event loop whose time stands still and whose tasks never run."""

    def __init__(self) -> None:
        self.timers: list[Timer] = []

    def call_later(self, delay_s: float, callback: Callable[[], None]) -> Timer:
        self.timers.append(Timer(delay_s, callback))
        return self.timers[-1]

    def create_task(self, work: Coroutine[Any, Any, None], **_: object) -> asyncio.Future[None]:
        work.close()
        return asyncio.Future(loop=asyncio.get_running_loop())


class Wire(asyncio.Transport):
    """A connection to a client that takes nothing."""

    is_aborted = False

    def abort(self) -> None:
        self.is_aborted = True

    def close(self) -> None:
        """It waits until the client has taken everything."""

    def is_closing(self) -> bool:
        return self.is_aborted


class Connection:
    """A connection that a client has just opened."""

    def __init__(self) -> None:
        self.loop, self.wire = Loop(), Wire()
        config = uvicorn.Config("nowhere:app", interface="asgi3", log_config=None)
        config.loaded_app = None
        config.ws_protocol_class = None
        config.loaded = True
        self.protocol = BoundedProtocol(config, ServerState(), {}, _loop=self.loop)
        self.protocol.connection_made(self.wire)

    @property
    def deadlines_s(self) -> list[float]:
        """The delays of the timers that would abort it."""
        return [
            t.delay_s
            for t in self.loop.timers
            if t.callback == self.wire.abort and not t.is_cancelled
        ]

    def let_time_pass(self) -> None:
        for timer in self.loop.timers:
            if not timer.is_cancelled:
                timer.callback()


@pytest.fixture
async def connection():
    made = Connection()
    yield made
    made.protocol.connection_lost(None)
    assert made.deadlines_s == []


@pytest.mark.parametrize("begun", [b"", b"G", b"GET /live HTTP/1.1\r\nHost: x\r\n"])
async def test_a_request_has_to_come_and_to_end(connection, begun):
    """A byte now and then does not count as one."""
    if begun:
        connection.protocol.data_received(begun)

    assert connection.deadlines_s == [REQUEST_S]
    connection.let_time_pass()
    assert connection.wire.is_aborted


async def test_an_answer_has_to_be_taken_and_followed_by_a_request(connection):
    """A client that reads nothing would keep its connection otherwise."""
    connection.protocol.data_received(b"GET /live HTTP/1.1\r\nHost: x\r\n\r\n")
    assert connection.deadlines_s == [RESPONSE_S]

    connection.protocol.on_response_complete()
    assert connection.deadlines_s == [KEEP_ALIVE_S + REQUEST_S]
