"""HTTP connections with a deadline for each step, so that idle ones cannot pile up."""

import asyncio
from typing import ClassVar

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

REQUEST_S = 10.0  # from the connection to the end of the first request's headers
KEEP_ALIVE_S = 30
RESPONSE_S = 120.0  # from the end of a request's headers until its response was sent
MAX_WAITING = 200  # connections in this process that have not sent a request yet
HEAD_LIMIT_BYTES = 64 * 1024  # a request's line and headers


class BoundedProtocol(HttpToolsProtocol):
    """
    An HTTP connection with a deadline for every step and a limit on the size of the headers.

    uvicorn waits without a limit for a request and for the client to read its response, and buffers
    headers that never end. Its `limit_concurrency` counts idle connections too and responds 503 to
    every further client: an attacker could lock out clients with a token. Instead, of the
    connections that have not sent a request yet, the oldest is closed when there are more than
    MAX_WAITING. A client that sends its request at once is never the oldest for long.
    """

    _waiting: ClassVar[dict["BoundedProtocol", None]] = {}  # oldest first
    _deadline: asyncio.TimerHandle | None = None
    _head_bytes = 0  # since the last request's headers ended

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the deadline of the first request."""
        super().connection_made(transport)
        # A dict keeps the order of insertion: its first key is the oldest connection.
        if len(self._waiting) >= MAX_WAITING:
            oldest = next(iter(self._waiting))
            oldest.transport.abort()
            self._waiting.pop(oldest)
        self._waiting[self] = None
        self._end_within(REQUEST_S)

    def data_received(self, data: bytes) -> None:
        """Receive a part of a request."""
        self._head_bytes += len(data)
        super().data_received(data)
        if self._head_bytes > HEAD_LIMIT_BYTES and not self.transport.is_closing():
            self.send_400_response("The headers are too long.")

    def on_headers_complete(self) -> None:
        """Start a request."""
        self._head_bytes = 0
        self._waiting.pop(self, None)
        self._end_within(RESPONSE_S)
        super().on_headers_complete()

    def on_response_complete(self) -> None:
        """Start the deadline of the next request."""
        if not self.transport.is_closing():
            self._end_within(KEEP_ALIVE_S + REQUEST_S)
        super().on_response_complete()

    def handle_websocket_upgrade(self) -> None:
        """Hand the connection over to the WebSocket protocol, which has its own deadlines."""
        self._forget()
        super().handle_websocket_upgrade()
        # uvicorn's WebSocket protocol parses the request again, with smaller limits. If that fails,
        # for example because the URL is longer than 8 KiB, it waits without a response.
        if not getattr(self.transport.get_protocol(), "handshake_initiated", True):
            self.send_400_response("Invalid HTTP request received.")

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._forget()
        super().connection_lost(exc)

    def _end_within(self, limit_s: float) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        self._deadline = self.loop.call_later(limit_s, self.transport.abort)

    def _forget(self) -> None:
        self._waiting.pop(self, None)
        if self._deadline is not None:
            self._deadline.cancel()
