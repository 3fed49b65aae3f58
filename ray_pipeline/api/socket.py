"""The WebSocket: a client says what it wants, and hears what changes."""

import asyncio
import logging
import re
import time
from collections.abc import Coroutine
from typing import Any

import msgspec
from starlette.websockets import WebSocket, WebSocketDisconnect

from ray_pipeline.api.client_queue import Full
from ray_pipeline.api.hub import Client, Hub, status
from ray_pipeline.api.limits import Allowance, Limits
from ray_pipeline.feeds.codec import UNDECODABLE

log = logging.getLogger(__name__)

SYMBOL = re.compile(r"[A-Z0-9.:\-]{1,32}")
POLICY, TOO_BIG, TRY_LATER = 1008, 1009, 1013
BAD_TOKEN = "a valid token is needed"  # noqa: S105 - a reason, not a token


class Bye(Exception):
    """The conversation ends: a close code and a reason."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


class Command(msgspec.Struct, forbid_unknown_fields=True):
    """What a client may say."""

    token: str | None = None
    subscribe: list[str] = []
    unsubscribe: list[str] = []


_commands = msgspec.json.Decoder(Command)


class Conversation:
    """One client, from its hello to its end."""

    def __init__(self, socket: WebSocket, hub: Hub, *, feed: str, limits: Limits) -> None:
        self._socket = socket
        self._hub = hub
        self._feed = feed
        self._limits = limits
        self._client = Client(feed)
        self._allowance = Allowance(per_s=limits.messages_per_s, burst=limits.messages_burst)

    async def hold(self, first: Command | None) -> None:
        """
        Hold the conversation on an accepted socket until either side ends it.

        The client is told why it ends. `first` is the message that showed the token, if one did.
        """
        try:
            self._greet(first)
            await _first_of(self._listen(), self._talk())
        except Bye as bye:
            await self._let_go(bye)
        except Full:
            await self._let_go(Bye(TRY_LATER, "too slow: replies were not read"))
        except (WebSocketDisconnect, OSError):
            pass
        finally:
            self._hub.leave(self._client)

    async def _let_go(self, bye: Bye) -> None:
        # First of all: nothing shall be collected for a client that takes its time to go.
        self._hub.leave(self._client)
        log.info("push of %s: a client is let go: %s", self._feed, bye.reason)
        await close(self._socket, bye, within_s=self._limits.close_s)

    def _greet(self, first: Command | None) -> None:
        hello = {
            "type": "hello",
            "feed": self._feed,
            "interval_s": self._limits.interval_s,
            "heartbeat_s": self._limits.heartbeat_s,
            "most_symbols": self._limits.symbols,
        }
        self._client.outbox.say(hello)
        if self._hub.trouble:
            self._client.outbox.say(status(self._hub.trouble))
        if first is not None:
            self._obey(first)

    async def _listen(self) -> None:
        while True:
            command = read(await self._hear())
            if command is None:
                self._complain('say {"subscribe": ["AAPL"]} or {"unsubscribe": ["AAPL"]}')
            else:
                self._obey(command)

    async def _hear(self) -> str | bytes:
        heard = await hear(self._socket, message_bytes=self._limits.message_bytes)
        if not self._allowance.take(now_s=time.monotonic()):
            raise Bye(POLICY, f"more than {self._limits.messages_per_s:g} messages a second")
        return heard

    def _obey(self, command: Command) -> None:
        named = {*command.subscribe, *command.unsubscribe}
        if bad := [symbol for symbol in named if not SYMBOL.fullmatch(symbol)]:
            self._complain(f"not a symbol: {bad[0][:40]!r}")
            return
        wanted = (self._client.interest | set(command.subscribe)) - set(command.unsubscribe)
        if len(wanted) > self._limits.symbols:
            self._complain(f"more than {self._limits.symbols} symbols")
            return
        if named:
            self._hub.want(self._client, wanted)
            self._client.outbox.say({"type": "subscribed", "symbols": len(wanted)})

    def _complain(self, error: str) -> None:
        self._client.outbox.say({"type": "error", "error": error})

    async def _talk(self) -> None:
        outbox, limits = self._client.outbox, self._limits
        heartbeat_at_s = time.monotonic() + limits.heartbeat_s
        values_at_s = 0.0  # not before
        while True:
            try:
                async with asyncio.timeout_at(_loop_time(heartbeat_at_s)):
                    await outbox.something(values_at_s=values_at_s)
            except TimeoutError:
                await self._send('{"type":"heartbeat"}')
                heartbeat_at_s = time.monotonic() + limits.heartbeat_s
                continue
            if outbox.has_control:
                await self._send(outbox.control())
                continue
            values_at_s = time.monotonic() + limits.interval_s
            await self._send(outbox.values())

    async def _send(self, text: str) -> None:
        try:
            async with asyncio.timeout(self._limits.slow_s):
                await self._socket.send_text(text)
        except TimeoutError:
            raise Bye(
                TRY_LATER, f"too slow: nothing was read for {self._limits.slow_s:g} s"
            ) from None


def _loop_time(monotonic_s: float) -> float:
    return asyncio.get_running_loop().time() + monotonic_s - time.monotonic()


async def hear(socket: WebSocket, *, message_bytes: int) -> str | bytes:
    """
    Return the next message.

    Raises:
        WebSocketDisconnect: If the other side left.
        Bye: If the message is longer than `message_bytes`.
    """
    message = await socket.receive()
    if message["type"] == "websocket.disconnect":
        raise WebSocketDisconnect(message.get("code", 1005))
    text: str | bytes | None = message.get("text")
    heard: str | bytes = message.get("bytes") or b"" if text is None else text
    size = len(heard.encode()) if isinstance(heard, str) else len(heard)
    if size > message_bytes:
        raise Bye(TOO_BIG, f"a message is longer than {message_bytes} bytes")
    return heard


def read(heard: str | bytes) -> Command | None:
    """Return what a message means, None where it cannot be read."""
    try:
        return _commands.decode(heard)
    except UNDECODABLE:
        return None


async def close(socket: WebSocket, bye: Bye, *, within_s: float) -> None:
    """Tell the other side why the conversation ends, if it hears that in time."""
    try:
        async with asyncio.timeout(within_s):
            await socket.close(bye.code, bye.reason)
    except (TimeoutError, RuntimeError, OSError, WebSocketDisconnect):
        pass  # gone, or not listening: the server drops it


async def _first_of(*coroutines: Coroutine[Any, Any, None]) -> None:
    """Run all until one ends, end the others, and raise what it raised."""
    tasks = [asyncio.ensure_future(one) for one in coroutines]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
