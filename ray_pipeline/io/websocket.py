"""WebSocket connections to providers, and what their refusals mean. No text holds a key."""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from urllib.parse import quote, quote_plus

from websockets.asyncio.client import ClientConnection
from websockets.asyncio.client import connect as connect_websocket
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException

from ray_pipeline.errors import FeedRefused, FeedUnavailable

OPEN_TIMEOUT_S = 10.0
CLOSE_TIMEOUT_S = 1.0
# Together the time after which a half-open connection is noticed.
PING_EVERY_S = 8.0
PONG_TIMEOUT_S = 8.0
REFUSALS = {
    401: "the key is not accepted",
    403: "access is denied",
    429: "too many requests or connections",
}
FIXES = {
    401: "check the key of this shard in PIPELINE_API_KEYS",
    403: "check that the plan of this shard's key includes the stream",
    429: "one connection a key is allowed: see that no other program uses this shard's key",
}

# The library logs the request line at DEBUG, and the request line holds the key.
_quiet = logging.getLogger("ray_pipeline.io.websocket.protocol")
_quiet.setLevel(logging.WARNING)


class WebSocket:
    """One open connection."""

    def __init__(self, connection: ClientConnection, *, key: str) -> None:
        self._connection = connection
        self._key = key

    async def send(self, text: str) -> None:
        """
        Send a text frame.

        Raises:
            FeedUnavailable: If the connection is gone.
        """
        try:
            await self._connection.send(text)
        except (WebSocketException, OSError) as error:
            raise FeedUnavailable(redact(_ended(error), self._key)) from None

    async def receive(self) -> bytes:
        """
        Return the next frame, undecoded.

        Raises:
            FeedUnavailable: If the connection is gone; the text has the close code.
        """
        try:
            return await self._connection.recv(decode=False)
        except (WebSocketException, OSError) as error:
            raise FeedUnavailable(redact(_ended(error), self._key)) from None


@asynccontextmanager
async def open_websocket(
    url: str, *, frame_limit_bytes: int, key: str = ""
) -> AsyncIterator[WebSocket]:
    """
    Connect for the length of a block. `key` is what the URL holds and no text may show.

    Raises:
        FeedRefused: If the provider answered 401, 403 or 429.
        FeedUnavailable: If it cannot be reached, or is no WebSocket.
    """
    connection = await _connect(url, frame_limit_bytes=frame_limit_bytes, key=key)
    try:
        yield WebSocket(connection, key=key)
    finally:
        await connection.close()


async def _connect(url: str, *, frame_limit_bytes: int, key: str) -> ClientConnection:
    try:
        return await connect_websocket(
            url,
            max_size=frame_limit_bytes,
            open_timeout=OPEN_TIMEOUT_S,
            close_timeout=CLOSE_TIMEOUT_S,
            ping_interval=PING_EVERY_S,
            ping_timeout=PONG_TIMEOUT_S,
            compression=None,  # frames are small: unpacking would cost more than it saves
            logger=_quiet,
        )
    except InvalidStatus as error:
        raise _refused(error) from None
    except (WebSocketException, OSError, TimeoutError, ValueError) as error:
        text = f"cannot connect: {error or type(error).__name__}"
        raise FeedUnavailable(redact(text, key)) from None


def _refused(error: InvalidStatus) -> FeedRefused | FeedUnavailable:
    status = error.response.status_code
    if status not in REFUSALS:
        return FeedUnavailable(f"cannot connect: HTTP {status}")
    wait_s = retry_after_s(error.response.headers.get("Retry-After"), now=datetime.now(UTC))
    return FeedRefused(
        f"refused with HTTP {status}: {REFUSALS[status]}", retry_after_s=wait_s, fix=FIXES[status]
    )


def retry_after_s(header: str | None, *, now: datetime) -> float:
    """Return the seconds in a Retry-After header, be it a number or a date; 0 for anything else."""
    if not header:
        return 0.0
    try:
        return max(float(header), 0.0)
    except ValueError:
        pass
    try:
        return max((parsedate_to_datetime(header) - now).total_seconds(), 0.0)
    except (ValueError, TypeError):
        return 0.0


def redact(text: str, key: str) -> str:
    """Return the text without the key, in whatever way it is written."""
    for form in {key, quote(key), quote_plus(key), quote(key, safe="")} - {""}:
        text = text.replace(form, "***")
    return text


def _ended(error: Exception) -> str:
    if not isinstance(error, ConnectionClosed):
        return f"the connection broke: {error}"
    if error.rcvd is not None:
        return f"closed by the provider with {error.rcvd.code} {error.rcvd.reason}".rstrip()
    if error.sent is not None:
        return f"closed with {error.sent.code} {error.sent.reason}".rstrip()
    return "the connection broke without a close frame (1006)"
