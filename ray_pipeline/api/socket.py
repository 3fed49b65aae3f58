"""One WebSocket client: it sends subscriptions and receives the values that change."""

import asyncio
import logging
import re
import time

import msgspec
from starlette.websockets import WebSocket, WebSocketDisconnect

from ray_pipeline.api.client_queue import QueueFull
from ray_pipeline.api.hub import Client, Hub, status
from ray_pipeline.api.limits import Limits, TokenBucket
from ray_pipeline.feeds.codec import UNDECODABLE
from ray_pipeline.tasks import first_of

log = logging.getLogger(__name__)

SYMBOL = re.compile(r"[A-Z0-9.:\-]{1,32}")
POLICY, TOO_BIG, TRY_LATER = 1008, 1009, 1013
BAD_TOKEN = "a valid token is needed"  # noqa: S105 - a reason, not a token


class CloseSocket(Exception):
    """Close the WebSocket with a code and a reason."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


class Command(msgspec.Struct, forbid_unknown_fields=True):
    """A message of a client."""

    token: str | None = None
    subscribe: list[str] = []
    unsubscribe: list[str] = []


_commands = msgspec.json.Decoder(Command)


class Conversation:
    """One client, from the hello message to the close."""

    def __init__(self, socket: WebSocket, hub: Hub, *, feed: str, limits: Limits) -> None:
        self._socket = socket
        self._hub = hub
        self._feed = feed
        self._limits = limits
        self._client = Client(feed)
        self._messages = TokenBucket(per_s=limits.messages_per_s, burst=limits.messages_burst)

    async def hold(self, first: Command | None) -> None:
        """
        Serve an accepted socket until either side ends it; the client receives the reason.

        `first` is the message that carried the token, if a message did.
        """
        try:
            self._greet(first)
            # Two tasks, because receiving must not delay values, nor a slow client the commands.
            await first_of(self._receive_commands(), self._send_messages())
        except CloseSocket as closing:
            await self._close(closing)
        except QueueFull:
            await self._close(CloseSocket(TRY_LATER, "too slow: replies were not read"))
        except (WebSocketDisconnect, OSError):
            pass
        finally:
            self._hub.remove(self._client)

    async def _close(self, closing: CloseSocket) -> None:
        # Leave the hub first: a slow close must not collect values.
        self._hub.remove(self._client)
        log.info("push of %s: a client is let go: %s", self._feed, closing.reason)
        await close(self._socket, closing, within_s=self._limits.close_s)

    def _greet(self, first: Command | None) -> None:
        hello = {
            "type": "hello",
            "feed": self._feed,
            "interval_s": self._limits.interval_s,
            "heartbeat_s": self._limits.heartbeat_s,
            "most_symbols": self._limits.symbols,
        }
        self._client.queue.say(hello)
        if self._hub.trouble:
            self._client.queue.say(status(self._hub.trouble))
        if first is not None:
            self._obey(first)

    async def _receive_commands(self) -> None:
        while True:
            text = await receive(self._socket, message_bytes=self._limits.message_bytes)
            if not self._messages.take(now_s=time.monotonic()):
                limit = f"more than {self._limits.messages_per_s:g} messages a second"
                raise CloseSocket(POLICY, limit)
            command = read(text)
            if command is None:
                self._complain('say {"subscribe": ["AAPL"]} or {"unsubscribe": ["AAPL"]}')
            else:
                self._obey(command)

    def _obey(self, command: Command) -> None:
        # All or nothing: a command with an invalid symbol changes no subscription.
        named = {*command.subscribe, *command.unsubscribe}
        if bad := [symbol for symbol in named if not SYMBOL.fullmatch(symbol)]:
            self._complain(f"not a symbol: {bad[0][:40]!r}")
            return
        symbols = (self._client.interest | set(command.subscribe)) - set(command.unsubscribe)
        if len(symbols) > self._limits.symbols:
            self._complain(f"more than {self._limits.symbols} symbols")
            return
        if named:
            self._hub.subscribe(self._client, symbols)
            self._client.queue.say({"type": "subscribed", "symbols": len(symbols)})

    def _complain(self, error: str) -> None:
        self._client.queue.say({"type": "error", "error": error})

    async def _send_messages(self) -> None:
        """Send replies at once, values at most once per interval, and heartbeats in between."""
        queue, limits = self._client.queue, self._limits
        heartbeat_at_s = time.monotonic() + limits.heartbeat_s
        values_at_s = 0.0  # the earliest time of the next values
        while True:
            try:
                async with asyncio.timeout_at(_loop_time(heartbeat_at_s)):
                    await queue.something(values_at_s=values_at_s)
            except TimeoutError:
                await self._send('{"type":"heartbeat"}')
                heartbeat_at_s = time.monotonic() + limits.heartbeat_s
                continue
            if queue.has_control:
                await self._send(queue.control())
                continue
            # Measured from the start of the send: a slow client does not get a burst afterwards.
            values_at_s = time.monotonic() + limits.interval_s
            await self._send(queue.values())

    async def _send(self, text: str) -> None:
        try:
            async with asyncio.timeout(self._limits.slow_s):
                await self._socket.send_text(text)
        except TimeoutError:
            reason = f"too slow: nothing was read for {self._limits.slow_s:g} s"
            raise CloseSocket(TRY_LATER, reason) from None


def _loop_time(monotonic_s: float) -> float:
    # uvloop's clock has another origin than time.monotonic().
    return asyncio.get_running_loop().time() + monotonic_s - time.monotonic()


async def receive(socket: WebSocket, *, message_bytes: int) -> str | bytes:
    """
    Return the next message.

    Raises:
        WebSocketDisconnect: If the client left.
        CloseSocket: If the message is longer than `message_bytes`.
    """
    message = await socket.receive()
    if message["type"] == "websocket.disconnect":
        raise WebSocketDisconnect(message.get("code", 1005))
    text: str | bytes | None = message.get("text")
    content: str | bytes = message.get("bytes") or b"" if text is None else text
    size = len(content.encode()) if isinstance(content, str) else len(content)
    if size > message_bytes:
        raise CloseSocket(TOO_BIG, f"a message is longer than {message_bytes} bytes")
    return content


def read(content: str | bytes) -> Command | None:
    """Decode a message; None if it is not a command."""
    try:
        return _commands.decode(content)
    except UNDECODABLE:
        return None


async def close(socket: WebSocket, closing: CloseSocket, *, within_s: float) -> None:
    """Close the socket with a code and a reason; give up after `within_s`."""
    try:
        async with asyncio.timeout(within_s):
            await socket.close(closing.code, closing.reason)
    except (TimeoutError, RuntimeError, OSError, WebSocketDisconnect):
        pass  # the client is gone or does not read: the server drops the connection
