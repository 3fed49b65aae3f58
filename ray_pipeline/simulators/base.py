"""What the simulators share: connections, counters, pace, faults and the control endpoint."""

import asyncio
import contextlib
import json
import logging
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from random import Random
from typing import Self

from aiohttp import WSMsgType, web

from ray_pipeline.redact import fingerprint
from ray_pipeline.simulators.listening import serve_routes
from ray_pipeline.simulators.options import Options
from ray_pipeline.simulators.prices import Pace, Walk
from ray_pipeline.simulators.recording import Frame, Replay, read

log = logging.getLogger(__name__)

TICK_S = 0.005
HUGE_BYTES = 10_000_000
ABORTED = 1006
SEND_TIMEOUT_S = 30.0


@dataclass(slots=True)
class Stats:
    """Counters of a simulator. `sent` counts records that were written to a subscriber."""

    connections: int = 0
    accepted: int = 0
    refused: int = 0
    sent: int = 0
    frames: int = 0
    pings: int = 0
    faults: int = 0
    sent_by_symbol: dict[str, int] = field(default_factory=dict)
    symbols_by_key: dict[str, list[str]] = field(default_factory=dict)
    replay_sent: int = 0
    replay_total: int = 0

    @property
    def replayed(self) -> bool:
        """Whether every recorded frame has been sent."""
        return self.replay_sent >= self.replay_total


@dataclass(slots=True, eq=False)
class Connection:
    """One client."""

    socket: web.WebSocketResponse
    request: web.Request
    key: str
    symbols: dict[str, None] = field(default_factory=dict)  # in the order of subscribing
    last_text: str = ""

    def abort(self) -> None:
        """Cut the TCP connection without a closing handshake."""
        transport = self.request.transport
        if transport is not None:
            transport.abort()


@dataclass(slots=True)
class Faults:
    """The faults that are switched on; see `docs/simulators.md`."""

    silent: bool = False
    pings: bool = True
    dropped: set[str] = field(default_factory=set)
    ignored: set[str] = field(default_factory=set)
    refuse_status: int = 0
    refuse_count: int = 0
    refuse_after_s: float = 0.0


class Simulator:
    """
    A provider's server with faults on request; subclasses implement one provider's protocol.

    One task sends all data. Every `TICK_S` it sends the records that have become due since the last
    tick, either generated ones or those of a replay. The handlers of the sockets only change what
    is subscribed. The control endpoint closes connections and sends faulty frames at once; all
    other faults are flags that the next tick, or the next handler, reads.
    """

    binary = False

    def __init__(self, options: Options, *, clock: Callable[[], float] = time.time) -> None:
        self.options = options
        self.clock = clock
        self.faults = Faults()
        self.random = Random(options.seed)
        self.walk = Walk(options.seed)
        self.pace = Pace(options.rate, now_s=time.monotonic())
        self.replay = Replay(
            read(options.replay), speed=options.speed, wait_symbols=options.wait_symbols
        )
        self.connections: list[Connection] = []
        self.port = self.control_port = 0
        self._paused = False
        self._stats = Stats()
        self._servers = contextlib.AsyncExitStack()
        self._task: asyncio.Task[None] | None = None

    @property
    def endpoint(self) -> dict[str, str]:
        """The section of the settings that makes this server the venue."""
        raise NotImplementedError

    @property
    def control_url(self) -> str:
        """Base URL of the endpoint that switches faults."""
        return f"http://{self.options.host}:{self.control_port}/control"

    def stats(self) -> Stats:
        """Return the counters so far."""
        stats = self._stats
        stats.connections = len(self.connections)
        stats.symbols_by_key = {
            fingerprint(connection.key): list(connection.symbols) for connection in self.connections
        }
        stats.replay_sent, stats.replay_total = self.replay.sent, len(self.replay.frames)
        return stats

    # A provider's protocol ----------------------------------------------------------------------

    def routes(self) -> list[web.RouteDef]:
        """Return the provider's endpoints."""
        raise NotImplementedError

    async def on_text(self, connection: Connection, text: str) -> None:
        """Handle a frame from a client."""
        raise NotImplementedError

    async def send_generated(self, due: int) -> None:
        """Send `due` generated records to the subscribers, by `send_frame`."""
        raise NotImplementedError

    def fault_frame(self, kind: str, connection: Connection, size_bytes: int) -> str:
        """Return a faulty frame that a client must survive."""
        raise NotImplementedError

    def ping_text(self) -> str | None:
        """Return the provider's application ping, or None if its protocol does not define one."""
        return None

    # Running ------------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        """Listen and begin to send."""
        servers, host = self._servers, self.options.host
        self.port = await serve_routes(servers, self.routes(), host=host, port=self.options.port)
        control = [
            web.get("/control/stats", self._answer_stats),
            web.post("/control/{action}", self._answer_action),
        ]
        self.control_port = await serve_routes(
            servers, control, host=host, port=self.options.control_port
        )
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        for connection in list(self.connections):
            connection.abort()
        await self._servers.aclose()

    async def serve_socket(self, request: web.Request, key: str) -> web.StreamResponse:
        """Accept one client and handle its frames until it disconnects."""
        if refusal := self._refusal():
            return refusal
        socket = web.WebSocketResponse(max_msg_size=2**22, autoping=True, compress=False)
        await socket.prepare(request)
        connection = Connection(socket, request, key)
        await self._close_connections_of(key)
        self.connections.append(connection)
        self._stats.accepted += 1
        try:
            async for message in socket:
                if message.type in (WSMsgType.TEXT, WSMsgType.BINARY):
                    text = message.data if isinstance(message.data, str) else message.data.decode()
                    await self.on_text(connection, text)
        except (ConnectionError, UnicodeDecodeError) as error:
            log.debug("a client disconnected: %s", error)
        finally:
            if connection in self.connections:
                self.connections.remove(connection)
        return socket

    def _refusal(self) -> web.Response | None:
        faults = self.faults
        if faults.refuse_count <= 0:
            return None
        faults.refuse_count -= 1
        self._stats.refused += 1
        headers = {"Retry-After": f"{faults.refuse_after_s:g}"} if faults.refuse_after_s else {}
        return web.Response(status=faults.refuse_status, headers=headers, text="refused")

    async def _close_connections_of(self, key: str) -> None:
        # A second connection with a key ends the first, as the provider does.
        for connection in self._connections_of(key) if key else ():
            self.connections.remove(connection)
            with contextlib.suppress(ConnectionError):
                await connection.socket.close(code=1008, message=b"replaced by a newer connection")

    async def _run(self) -> None:
        next_ping_s = time.monotonic() + self.options.ping_s
        while True:
            await asyncio.sleep(TICK_S)
            try:
                if not self._paused:
                    await self._send_due()
                if time.monotonic() >= next_ping_s:
                    next_ping_s = time.monotonic() + self.options.ping_s
                    await self._ping()
            except (ConnectionError, RuntimeError) as error:
                log.debug("a client disconnected during a send: %s", error)

    async def _send_due(self) -> None:
        if not self.replay.frames:
            # During a silence the due records are dropped, so no burst follows it.
            due = self.pace.due(now_s=time.monotonic())
            if not self.faults.silent:
                await self.send_generated(due)
        elif not self.faults.silent:
            subscribed = {symbol for client in self.connections for symbol in client.symbols}
            while frame := self.replay.due(subscribed, now_s=time.monotonic()):
                if not await self._deliver(frame):
                    return  # without a subscriber it stays the next one
                self.replay.sent += 1

    async def _deliver(self, frame: Frame) -> bool:
        """Send a recorded frame; return whether a client was there to receive it."""
        for connection in list(self.connections):
            if not frame.symbols:  # a control frame is for every client
                await self.send(connection, frame.text)
            elif not frame.symbols.isdisjoint(connection.symbols):
                return await self.send_frame(connection, frame)
        return bool(self.connections) and not frame.symbols

    async def _ping(self) -> None:
        text = self.ping_text()
        if text is None or not self.faults.pings:
            return
        for connection in list(self.connections):
            if await self.send(connection, text):
                self._stats.pings += 1

    async def send(self, connection: Connection, text: str) -> bool:
        """Send one frame; return False if the client has disconnected."""
        if connection.socket.closed or connection not in self.connections:
            return False
        try:
            # Not `wait_for`: in Python 3.11 it ignores a cancellation that arrives as a send ends.
            async with asyncio.timeout(SEND_TIMEOUT_S):
                if self.binary:
                    await connection.socket.send_bytes(text.encode())
                else:
                    await connection.socket.send_str(text)
        except (ConnectionError, RuntimeError, TimeoutError):
            return False
        return True

    async def send_frame(self, connection: Connection, frame: Frame) -> bool:
        """Send a frame with data and count its records."""
        if not await self.send(connection, frame.text):
            return False
        connection.last_text = frame.text
        stats = self._stats
        stats.frames += 1
        stats.sent += frame.trades
        for symbol in frame.symbols:
            # Frames carry the number of records, not of each symbol. To count names in the text is
            # much faster than to parse it.
            count = frame.trades if len(frame.symbols) == 1 else frame.text.count(f'"{symbol}"')
            stats.sent_by_symbol[symbol] = stats.sent_by_symbol.get(symbol, 0) + count
        return True

    # Control ------------------------------------------------------------------------------------

    async def _answer_stats(self, _: web.Request) -> web.Response:
        stats = self.stats()
        return web.json_response({**asdict(stats), "replayed": stats.replayed})

    async def _answer_action(self, request: web.Request) -> web.Response:
        # Every method do_NAME is the action NAME; the fields of the body are its arguments.
        name = request.match_info["action"]
        action = getattr(self, f"do_{name}", None)
        if action is None:
            actions = sorted(method[3:] for method in dir(self) if method.startswith("do_"))
            return web.json_response({"error": f"no such fault; there are {actions}"}, status=404)
        try:
            await action(**(await request.json() if request.can_read_body else {}))
        except (ValueError, TypeError) as error:
            return web.json_response({"error": str(error)}, status=400)
        self._stats.faults += 1
        return web.json_response({"done": name})

    def _connections_of(self, key: str | None) -> list[Connection]:
        """Return the connections with a key; all of them for None."""
        return [connection for connection in self.connections if key in (None, connection.key)]

    async def do_close(self, code: int = ABORTED, key: str | None = None) -> None:
        """Close connections with a code; 1006 cuts them without a closing handshake."""
        for connection in self._connections_of(key):
            self.connections.remove(connection)
            if code == ABORTED:
                connection.abort()
            else:
                await connection.socket.close(code=code)

    async def do_silence(self, on: bool = True, pings: bool = False) -> None:
        """Send no data while sockets stay open; with `pings`, keep sending pings."""
        self.faults.silent = on
        self.faults.pings = pings or not on

    async def do_drop(self, symbol: str, on: bool = True) -> None:
        """Stop sending one symbol."""
        (self.faults.dropped.add if on else self.faults.dropped.discard)(symbol)

    async def do_ignore_subscribe(self, symbol: str, on: bool = True) -> None:
        """Ignore subscriptions to one symbol."""
        (self.faults.ignored.add if on else self.faults.ignored.discard)(symbol)

    async def do_refuse(
        self, status: int = 429, retry_after_s: float = 0.0, count: int = 1
    ) -> None:
        """Refuse the next `count` connections."""
        self.faults.refuse_status = status
        self.faults.refuse_after_s = retry_after_s
        self.faults.refuse_count = count

    async def do_rate(self, rate: float) -> None:
        """Change the records per second."""
        self.pace.rate = rate

    async def do_pause(self) -> None:
        """Send no data until `do_resume`."""
        self._paused = True

    async def do_resume(self) -> None:
        """Continue after `do_pause`."""
        self._paused = False

    async def do_frame(
        self,
        kind: str,
        text: str = "",
        size_bytes: int = HUGE_BYTES,
        key: str | None = None,
    ) -> None:
        """Send a faulty frame to every connection, or to the one with a key."""
        for connection in self._connections_of(key):
            frame = text if kind == "raw" else self.fault_frame(kind, connection, size_bytes)
            await self.send(connection, frame)


def as_json(value: object) -> str:
    """Return compact JSON."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)
