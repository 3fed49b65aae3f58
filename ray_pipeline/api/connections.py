"""HTTP connections of which no one can hold many for nothing."""

import asyncio
from typing import ClassVar

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

REQUEST_S = 10.0  # from the connection to the end of the first request's headers
KEEP_ALIVE_S = 30
ANSWER_S = 120.0  # from the end of a request's headers until its answer has been taken
MOST_WAITING = 200
HEAD_LIMIT_BYTES = 64 * 1024  # of a request's line and headers


class BoundedProtocol(HttpToolsProtocol):
    """
    An HTTP connection with a deadline for every step, and a limit on what precedes a request.

    uvicorn waits for ever for a request and for the client to take its answer, and collects the
    headers of a request whose headers do not end. Its
    `limit_concurrency` counts such connections, and answers everybody else 503 when there are
    many: it would lock out those who have a token. Here, of the connections that have not sent a
    request yet, the oldest is closed when there are more than MOST_WAITING in this process.
    """

    _waiting: ClassVar[dict["BoundedProtocol", None]] = {}  # in the order of arrival
    _deadline: asyncio.TimerHandle | None = None
    _head_bytes = 0  # since the last request's headers ended

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for the first request."""
        super().connection_made(transport)
        if len(self._waiting) >= MOST_WAITING:
            oldest = next(iter(self._waiting))
            oldest.transport.abort()
            self._waiting.pop(oldest)
        self._waiting[self] = None
        self._end_within(REQUEST_S)

    def data_received(self, data: bytes) -> None:
        """Take in a part of a request."""
        self._head_bytes += len(data)
        super().data_received(data)
        if self._head_bytes > HEAD_LIMIT_BYTES and not self.transport.is_closing():
            self.send_400_response("The headers are too long.")

    def on_headers_complete(self) -> None:
        """Answer a request."""
        self._head_bytes = 0
        self._waiting.pop(self, None)
        self._end_within(ANSWER_S)
        super().on_headers_complete()

    def on_response_complete(self) -> None:
        """Wait for the next request."""
        if not self.transport.is_closing():
            self._end_within(KEEP_ALIVE_S + REQUEST_S)
        super().on_response_complete()

    def handle_websocket_upgrade(self) -> None:
        """Leave the connection to the WebSocket, which has deadlines of its own."""
        self._forget()
        super().handle_websocket_upgrade()
        # uvicorn's WebSocket reads the request again, with smaller limits. Where it cannot, for
        # example because the URL is longer than 8 KiB, it says nothing and waits for ever.
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
