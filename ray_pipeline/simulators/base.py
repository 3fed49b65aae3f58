"""What the simulators share: connections, counters, faults, the control endpoint, the pace."""

import asyncio
import contextlib
import hashlib
import json
import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from aiohttp import WSMsgType, web

from ray_pipeline.simulators.recording import Frame
from ray_pipeline.storage.listener import listen

log = logging.getLogger(__name__)

TICK_S = 0.005
PING_S = 10.0
HUGE_BYTES = 10_000_000
ABORTED = 1006
SEND_TIMEOUT_S = 30.0


@dataclass(frozen=True, slots=True)
class Options:
    """
    What a simulator does.

    Attributes:
        host, port, control_port: Where it listens; 0 picks a free port.
        rate: Records per second over all subscribed symbols together.
        seed: The same seed gives the same prices.
        symbols: What may be subscribed to; None for anything.
        replay: Recorded files to send instead of generated data, once.
        speed: 1 is as recorded, 10 ten times as fast, 0 as fast as the socket takes it.
        wait_symbols: How many symbols must be subscribed before a replay begins; None for all that
            are in the files.
        ping_s: Seconds between pings.
    """

    host: str = "127.0.0.1"
    port: int = 0
    control_port: int = 0
    rate: float = 100.0
    seed: int = 1
    symbols: tuple[str, ...] | None = None
    replay: tuple[Path, ...] = ()
    speed: float = 1.0
    wait_symbols: int | None = None
    ping_s: float = PING_S


@dataclass(slots=True)
class Stats:
    """What a simulator has done. `sent` counts records that were written to a subscriber."""

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
        """Cut the TCP connection without a word."""
        transport = self.request.transport
        if transport is not None:
            transport.abort()


@dataclass(slots=True)
class Faults:
    """What is switched on."""

    silent: bool = False
    pings: bool = True
    dropped: set[str] = field(default_factory=set)
    ignored: set[str] = field(default_factory=set)
    refuse_status: int = 0
    refuse_count: int = 0
    refuse_after_s: float = 0.0


def fingerprint(key: str) -> str:
    """Return a name for a key that does not tell the key."""
    return hashlib.sha256(key.encode()).hexdigest()[:8]


class Simulator:
    """A server with faults on request; subclasses know one provider's protocol."""

    binary = False

    def __init__(self, options: Options, *, clock: Callable[[], float] = time.time) -> None:
        self.options = options
        self.clock = clock
        self.faults = Faults()
        self.random = Random(options.seed)
        self.rate = options.rate
        self.connections: list[Connection] = []
        self.frames: list[Frame] = []
        self._position = 0
        self._stats = Stats()
        self._runners: list[web.AppRunner] = []
        self._task: asyncio.Task[None] | None = None
        self.port = self.control_port = 0
        self._paused = False

    @property
    def variables(self) -> dict[str, str]:
        """The settings that send the pipeline to this server."""
        raise NotImplementedError

    @property
    def control_url(self) -> str:
        """Where faults are asked for."""
        return f"http://{self.options.host}:{self.control_port}/control"

    def stats(self) -> Stats:
        """Return what has been done so far."""
        stats = self._stats
        stats.connections = len(self.connections)
        stats.symbols_by_key = {fingerprint(one.key): list(one.symbols) for one in self.connections}
        stats.replay_sent, stats.replay_total = self._position, len(self.frames)
        return stats

    # What a provider's simulator says ----------------------------------------------------------

    def routes(self) -> list[web.RouteDef]:
        """Return the provider's endpoints."""
        raise NotImplementedError

    async def on_text(self, connection: Connection, text: str) -> None:
        """Answer what a client sent."""
        raise NotImplementedError

    def generate(self, symbols: list[str], count: int) -> Iterable[Frame]:
        """Return frames with `count` records of these symbols."""
        raise NotImplementedError

    def fault_frame(self, kind: str, connection: Connection, size_bytes: int) -> str:
        """Return a frame that a client must survive."""
        raise NotImplementedError

    def ping_text(self) -> str | None:
        """Return the provider's application ping, None where it has none."""
        return None

    # Running -----------------------------------------------------------------------------------

    async def __aenter__(self) -> "Simulator":
        """Listen."""
        self.port = await self._listen(self.routes(), self.options.port)
        self.control_port = await self._listen(self._control_routes(), self.options.control_port)
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        for connection in list(self.connections):
            connection.abort()
        for runner in self._runners:
            await runner.cleanup()

    async def _listen(self, routes: list[web.RouteDef], port: int) -> int:
        app = web.Application()
        app.add_routes(routes)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
        self._runners.append(runner)
        await runner.setup()
        listener = listen(self.options.host, port)
        await web.SockSite(runner, listener).start()
        return int(listener.getsockname()[1])

    async def serve_socket(self, request: web.Request, key: str) -> web.StreamResponse:
        """Take one client until it goes."""
        if refusal := self._refusal():
            return refusal
        socket = web.WebSocketResponse(max_msg_size=2**22, autoping=True, compress=False)
        await socket.prepare(request)
        connection = Connection(socket, request, key)
        await self._replace(key)
        self.connections.append(connection)
        self._stats.accepted += 1
        try:
            async for message in socket:
                if message.type in (WSMsgType.TEXT, WSMsgType.BINARY):
                    text = message.data if isinstance(message.data, str) else message.data.decode()
                    await self.on_text(connection, text)
        except (ConnectionError, UnicodeDecodeError) as error:
            log.debug("a client went: %s", error)
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

    async def _replace(self, key: str) -> None:
        """A second connection with a key ends the first, as the provider does."""
        for other in [one for one in self.connections if key and one.key == key]:
            self.connections.remove(other)
            with contextlib.suppress(ConnectionError):
                await other.socket.close(code=1008, message=b"replaced by a newer connection")

    async def _run(self) -> None:
        pinged_s = time.monotonic()
        while True:
            await asyncio.sleep(TICK_S)
            try:
                if self.frames:
                    await self._replay()
                elif not self._paused:
                    await self._generate()
                if time.monotonic() - pinged_s >= self.options.ping_s:
                    pinged_s = time.monotonic()
                    await self._ping()
            except (ConnectionError, RuntimeError) as error:
                log.debug("a client went while sending: %s", error)

    async def _generate(self) -> None:
        raise NotImplementedError

    async def _ping(self) -> None:
        text = self.ping_text()
        if text is None or not self.faults.pings:
            return
        for connection in list(self.connections):
            if await self.send(connection, text):
                self._stats.pings += 1

    async def send(self, connection: Connection, text: str) -> bool:
        """Send one frame; False if the client is gone."""
        if connection.socket.closed or connection not in self.connections:
            return False
        try:
            # Not `wait_for`: in Python 3.11 it forgets a cancellation that comes as a send ends.
            async with asyncio.timeout(SEND_TIMEOUT_S):
                if self.binary:
                    await connection.socket.send_bytes(text.encode())
                else:
                    await connection.socket.send_str(text)
        except (ConnectionError, RuntimeError, TimeoutError):
            return False
        return True

    async def send_frame(self, connection: Connection, frame: Frame) -> bool:
        """Send data and count it."""
        if not await self.send(connection, frame.text):
            return False
        connection.last_text = frame.text
        stats = self._stats
        stats.frames += 1
        stats.sent += frame.trades
        for symbol in frame.symbols:
            share = frame.trades if len(frame.symbols) == 1 else frame.text.count(f'"{symbol}"')
            stats.sent_by_symbol[symbol] = stats.sent_by_symbol.get(symbol, 0) + share
        return True

    # Replay ------------------------------------------------------------------------------------

    async def _replay(self) -> None:
        """Send what is due of the recording. A frame nobody listens to waits for a listener."""
        if self._position >= len(self.frames) or self.faults.silent or self._paused:
            return
        if self._position == 0 and not self._all_subscribed():
            return
        if self._position == 0:
            self._begun_s = time.monotonic()
            self._first_ms = next((f.at_ms for f in self.frames if f.at_ms), 0)
        while self._position < len(self.frames):
            frame = self.frames[self._position]
            if not self._is_due(frame) or not await self._deliver(frame):
                return
            self._position += 1

    _begun_s = 0.0
    _first_ms = 0

    def _is_due(self, frame: Frame) -> bool:
        if self.options.speed <= 0 or not frame.at_ms:
            return True
        played_ms = (time.monotonic() - self._begun_s) * 1000 * self.options.speed
        return frame.at_ms - self._first_ms <= played_ms

    async def _deliver(self, frame: Frame) -> bool:
        if not frame.symbols:
            for connection in list(self.connections):
                await self.send(connection, frame.text)
            return bool(self.connections)
        for connection in list(self.connections):
            if not frame.symbols.isdisjoint(connection.symbols):
                return await self.send_frame(connection, frame)
        return False

    def _all_subscribed(self) -> bool:
        wanted = {symbol for frame in self.frames for symbol in frame.symbols}
        subscribed = {symbol for one in self.connections for symbol in one.symbols}
        if self.options.wait_symbols is not None:
            return len(wanted & subscribed) >= self.options.wait_symbols
        return wanted <= subscribed

    # Control -----------------------------------------------------------------------------------

    def _control_routes(self) -> list[web.RouteDef]:
        return [
            web.get("/control/stats", self._answer_stats),
            web.post("/control/{action}", self._answer_action),
        ]

    async def _answer_stats(self, _: web.Request) -> web.Response:
        stats = self.stats()
        names = stats.__slots__
        return web.json_response(
            {**{name: getattr(stats, name) for name in names}, "replayed": stats.replayed}
        )

    async def _answer_action(self, request: web.Request) -> web.Response:
        action = getattr(self, f"do_{request.match_info['action']}", None)
        if action is None:
            known = sorted(name[3:] for name in dir(self) if name.startswith("do_"))
            return web.json_response({"error": f"no such fault; there are {known}"}, status=404)
        try:
            body = await request.json() if request.can_read_body else {}
            await action(**body)
        except (ValueError, TypeError) as error:
            return web.json_response({"error": str(error)}, status=400)
        self._stats.faults += 1
        return web.json_response({"done": request.match_info["action"]})

    def _chosen(self, key: str | None) -> list[Connection]:
        return [one for one in self.connections if key is None or one.key == key]

    async def do_close(self, code: int = 1006, key: str | None = None) -> None:
        """Close connections with a code; 1006 cuts them without a word."""
        for connection in self._chosen(key):
            self.connections.remove(connection)
            if code == ABORTED:
                connection.abort()
            else:
                await connection.socket.close(code=code)

    async def do_silence(self, on: bool = True, pings: bool = False) -> None:
        """Send no data while sockets stay open; with `pings` those go on."""
        self.faults.silent = on
        self.faults.pings = pings or not on

    async def do_drop(self, symbol: str, on: bool = True) -> None:
        """Send nothing more of one symbol."""
        (self.faults.dropped.add if on else self.faults.dropped.discard)(symbol)

    async def do_ignore_subscribe(self, symbol: str, on: bool = True) -> None:
        """Do not hear subscriptions to one symbol."""
        (self.faults.ignored.add if on else self.faults.ignored.discard)(symbol)

    async def do_refuse(
        self, status: int = 429, retry_after_s: float = 0.0, count: int = 1
    ) -> None:
        """Refuse the next connections."""
        self.faults.refuse_status = status
        self.faults.refuse_after_s = retry_after_s
        self.faults.refuse_count = count

    async def do_rate(self, rate: float) -> None:
        """Change the records per second."""
        self.rate = rate

    async def do_pause(self) -> None:
        """Send nothing until resumed."""
        self._paused = True

    async def do_resume(self) -> None:
        """Go on."""
        self._paused = False

    async def do_frame(
        self,
        kind: str,
        text: str = "",
        size_bytes: int = HUGE_BYTES,
        key: str | None = None,
    ) -> None:
        """Send a frame that a client must survive, to every connection or one key's."""
        for connection in self._chosen(key):
            frame = text if kind == "raw" else self.fault_frame(kind, connection, size_bytes)
            await self.send(connection, frame)


def as_json(value: object) -> str:
    """Return compact JSON."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)
