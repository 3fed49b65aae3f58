"""
A TCP proxy between two parts of the pipeline that can stall, drop, reset and delay.

It runs in the event loop of the harness. Each connection of a client has a second connection to the
server; bytes move from one to the other as the link's mode says.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable
from typing import Literal

Mode = Literal["pass", "stall", "drop", "reset", "delay"]
Address = Callable[[], tuple[str, int]]

HOST = "127.0.0.1"


class End(asyncio.Protocol):
    """One end of a proxied connection: what it receives is written to its peer."""

    def __init__(self, link: "Link") -> None:
        self.link = link
        self.peer: End | None = None
        self.transport: asyncio.Transport | None = None
        self.waiting: deque[tuple[float, bytes]] = deque()  # bytes for the peer, with their time
        self.timer: asyncio.TimerHandle | None = None
        self.closed = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Register the end; a link that is cut accepts and closes at once."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.link.ends.add(self)
        self.link.apply(self)

    def data_received(self, data: bytes) -> None:
        """Pass bytes on, now or later. They are swallowed while the link drops."""
        if self.link.mode == "drop":
            self.link.swallowed_bytes += len(data)
            return
        now_s = asyncio.get_running_loop().time()
        # Bytes never overtake earlier ones, also when the delay becomes shorter.
        earlier_s = self.waiting[-1][0] if self.waiting else now_s
        self.waiting.append((max(now_s + self.link.delay_s, earlier_s), data))
        self.flush()

    def flush(self) -> None:
        """Write what is due to the peer, and set a timer for the next bytes."""
        loop = asyncio.get_running_loop()
        self.timer = None
        if self.peer is None or self.peer.transport is None:
            return
        while self.waiting and self.waiting[0][0] <= loop.time():
            self.peer.transport.write(self.waiting.popleft()[1])
        if self.waiting:
            self.timer = loop.call_at(self.waiting[0][0], self.flush)
        elif self.closed:
            self.peer.transport.close()

    def pause_writing(self) -> None:
        """Stop reading from the peer: this end's buffer is full."""
        if self.peer is not None and self.peer.transport is not None:
            self.peer.transport.pause_reading()

    def resume_writing(self) -> None:
        """Continue to read from the peer, unless the link is stalled."""
        if self.peer is not None and self.peer.transport is not None:
            self.link.apply(self.peer)

    def connection_lost(self, _: Exception | None) -> None:
        """Close the peer after the bytes that still wait for it."""
        self.closed = True
        self.link.ends.discard(self)
        # During a partition the other side learns nothing, not even that this side has gone.
        if self.link.mode not in {"stall", "drop"}:
            self.flush()


class Link:
    """A proxied way from clients to one server."""

    def __init__(self, name: str, target: Address) -> None:
        self.name = name
        self.mode: Mode = "pass"
        self.delay_s = 0.0
        self.ends: set[End] = set()
        self.swallowed_bytes = 0
        self._target = target
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def port(self) -> int:
        """Where clients connect."""
        assert self._server is not None
        return int(self._server.sockets[0].getsockname()[1])

    async def open(self, port: int = 0) -> None:
        """Listen."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._accept, HOST, port)

    async def close(self) -> None:
        """Stop listening and cut every connection."""
        if self._server is not None:
            self._server.close()
        self._cut()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._cut()  # a connection may have been made meanwhile
        while self.ends:
            await asyncio.sleep(0)

    def set(self, mode: Mode, *, delay_s: float = 0.0) -> None:
        """
        Change the mode.

        Connections from which bytes were swallowed are cut when `drop` ends, because their streams
        have holes. `reset` cuts all connections, and new ones at once.
        """
        before, self.mode, self.delay_s = self.mode, mode, delay_s
        if mode == "reset" or before == "drop":
            self._cut()
        for end in list(self.ends):
            self.apply(end)

    def apply(self, end: End) -> None:
        """Make one end follow the mode."""
        if end.transport is None or end.transport.is_closing():
            return
        if self.mode == "reset":
            end.transport.abort()
        elif self.mode == "stall":
            end.transport.pause_reading()
        else:
            end.transport.resume_reading()
            if end.peer is not None and end.peer.closed:
                end.transport.close()

    def _accept(self) -> End:
        client, server = End(self), End(self)
        client.peer, server.peer = server, client
        task = asyncio.get_running_loop().create_task(self._connect(client, server))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return client

    async def _connect(self, client: End, server: End) -> None:
        try:
            await asyncio.get_running_loop().create_connection(lambda: server, *self._target())
        except OSError:
            if client.transport is not None:
                client.transport.abort()
            return
        client.flush()

    def _cut(self) -> None:
        for end in list(self.ends):
            with contextlib.suppress(RuntimeError):
                if end.transport is not None:
                    end.transport.abort()
