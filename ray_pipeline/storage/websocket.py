"""WebSocket connections to venues, and the meaning of their refusals. No text contains a key."""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from urllib.parse import urlsplit

from websockets.asyncio.client import ClientConnection
from websockets.asyncio.client import connect as connect_websocket
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException

from ray_pipeline.errors import FeedRefused, FeedUnavailable, RedirectRefused
from ray_pipeline.foreign_text import foreign_text
from ray_pipeline.redact import Redactor, redactor
from ray_pipeline.transport.redirects import moved, redirect_target
from ray_pipeline.transport.retry_after import LONGEST_STREAM_PAUSE_S, parse_retry_after

OPEN_TIMEOUT_S = 10.0
CLOSE_TIMEOUT_S = 1.0
# Their sum is the time after which a half-open connection is detected. The pings also keep a quiet
# connection open: venues close it after two minutes without a frame.
PING_EVERY_S = 8.0
PONG_TIMEOUT_S = 8.0
REFUSALS = {
    401: "the key is not accepted",
    403: "access is denied",
    404: "the address does not exist",
    429: "too many requests or connections",
    503: "the venue is overloaded or under maintenance",
}
FIXES = {
    401: "check the key of this shard in PIPELINE_API_KEYS",
    403: "check that the plan of this shard's key includes the stream",
    503: "wait; the connection is tried again",
    429: "a key allows one connection: make sure that no other program uses this shard's key",
}

# The library logs the request line at DEBUG, and the request line contains the key.
_quiet = logging.getLogger("ray_pipeline.storage.websocket.protocol")
_quiet.setLevel(logging.WARNING)


class WebSocket:
    """One open connection."""

    def __init__(self, connection: ClientConnection, secrets: Redactor) -> None:
        self._connection = connection
        self._secrets = secrets

    async def send(self, text: str) -> None:
        """
        Send a text frame.

        Raises:
            FeedUnavailable: If the connection is gone.
        """
        try:
            await self._connection.send(text)
        except (WebSocketException, OSError) as error:
            raise FeedUnavailable(_ended(error, self._secrets)) from None

    async def receive(self) -> bytes:
        """
        Return the next frame, undecoded, with the key replaced in it.

        Raises:
            FeedUnavailable: If the connection is gone; the text has the close code.
        """
        try:
            return self._secrets.data(await self._connection.recv(decode=False))
        except (WebSocketException, OSError) as error:
            raise FeedUnavailable(_ended(error, self._secrets)) from None

    async def ping(self) -> None:
        """
        Send a ping and wait for its answer.

        Raises:
            FeedUnavailable: If the connection is gone.
        """
        try:
            await (await self._connection.ping())
        except (WebSocketException, OSError) as error:
            raise FeedUnavailable(_ended(error, self._secrets)) from None


@asynccontextmanager
async def open_websocket(
    url: str, *, venue: str, frame_limit_bytes: int, key: str = ""
) -> AsyncIterator[WebSocket]:
    """
    Connect for the duration of a block. `key` is part of the URL; frames and errors never show it.

    Args:
        url: Where to connect.
        venue: Section of the settings with the venue's address, for errors.
        frame_limit_bytes: A larger frame ends the connection.
        key: Text to replace in frames and errors.

    Raises:
        FeedRefused: If the venue answers with an HTTP error, or redirects to another host. The text
            has the pause that the venue requests.
        FeedUnavailable: If it cannot be reached, or is not a WebSocket.
    """
    secrets = redactor([key])
    connection = await _connect(
        url, venue=venue, frame_limit_bytes=frame_limit_bytes, secrets=secrets
    )
    try:
        yield WebSocket(connection, secrets)
    finally:
        await connection.close()


class _ConnectToOneHost(connect_websocket):
    """The library's connect would follow a redirect to any host with the key in its URL."""

    fix = ""

    def process_redirect(self, exc: Exception) -> Exception | str:
        """Return the URL to connect to instead, or the error if it must not be followed."""
        if not isinstance(exc, InvalidStatus):
            return exc
        response = exc.response
        location = response.headers.get("Location")
        try:
            target = redirect_target(
                self.uri, response.status_code, location, server="the provider", fix=self.fix
            )
        except RedirectRefused as error:
            return error
        if target is None:
            return exc
        # The key is in the query.
        return target if urlsplit(target).query else f"{target}?{urlsplit(self.uri).query}"


async def _connect(
    url: str, *, venue: str, frame_limit_bytes: int, secrets: Redactor
) -> ClientConnection:
    try:
        connecting = _ConnectToOneHost(
            url,
            max_size=frame_limit_bytes,
            open_timeout=OPEN_TIMEOUT_S,
            close_timeout=CLOSE_TIMEOUT_S,
            ping_interval=PING_EVERY_S,
            ping_timeout=PONG_TIMEOUT_S,
            compression=None,  # frames are small: decompression would cost more than it saves
            logger=_quiet,
        )
        connecting.fix = moved(venue, setting="WS_URL")
        return await connecting
    except RedirectRefused as error:
        raise FeedRefused(secrets.text(error.args[0]), fix=error.fix) from None
    except InvalidStatus as error:
        raise _refused(error, venue, secrets) from None
    except Exception as error:
        # The answer of a foreign server can make any layer fail.
        text = _plain(str(error), secrets) or type(error).__name__
        raise FeedUnavailable(f"cannot connect: {text}") from None


def _refused(error: InvalidStatus, venue: str, secrets: Redactor) -> FeedRefused:
    response = error.response
    status = response.status_code
    reason = REFUSALS.get(status, "the server offers no WebSocket")
    text = f"refused with HTTP {status}: {reason}"
    pause = parse_retry_after(
        map(secrets.text, response.headers.get_all("Retry-After")),
        now=datetime.now(UTC),
        longest_s=LONGEST_STREAM_PAUSE_S,
    )
    return FeedRefused(
        f"{text}; {pause}" if pause else text,
        retry_after_s=pause.wait_s if pause else 0.0,
        fix=FIXES.get(status, f"check PIPELINE_{venue.upper()}__WS_URL"),
    )


def _ended(error: Exception, secrets: Redactor) -> str:
    if not isinstance(error, ConnectionClosed):
        return f"the connection broke: {_plain(str(error), secrets) or type(error).__name__}"
    if error.rcvd is not None:
        close, by = error.rcvd, "closed by the provider with"
    elif error.sent is not None:
        close, by = error.sent, "closed with"
    else:
        return "the connection broke without a close frame (1006)"
    return f"{by} {close.code} {_plain(close.reason, secrets)}".rstrip()


def _plain(text: str, secrets: Redactor) -> str:
    # In this order: a key that is cut short would no longer be recognised.
    return foreign_text(secrets.text(text))
