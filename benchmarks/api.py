"""One API process on one core: latest values over HTTP, and the push to many clients."""

import asyncio
import contextlib
import json
import os
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TypeVar, cast

import psutil
import uvloop
from websockets.asyncio.client import ClientConnection, connect

from benchmarks.latency import quantile
from benchmarks.processes import CORES, Usage, say, started
from benchmarks.servers import temporary_home
from ray_pipeline.feeds import sp500
from ray_pipeline.feeds.feed_registry import feed_named
from ray_pipeline.feeds.records import Trade
from ray_pipeline.local.servers import PostgresServer, ValkeyServer
from ray_pipeline.storage.migrations import migrate
from ray_pipeline.storage.redis.latest_cache import CacheLimits, LatestCache
from ray_pipeline.stream.cache import LatestValue

TITLE = "API"
TOKEN = "benchmark"
SYMBOLS = [f"S{number}" for number in range(500)]
WANTED = 10  # symbols per push client
CONNECTIONS = 32
WARM_UP_S = 2.0
PER_S = 2_000  # the goal
CLIENTS = 1_000  # the goal
RATES = (PER_S, None)
ATTEMPTS = 3

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Requests:
    """Requests for latest values; `asked_per_s` None: as fast as they are answered."""

    asked_per_s: int | None
    answered_per_s: float
    p50_ms: float
    p99_ms: float
    core: float  # share of the API's core that it used
    elsewhere: float  # share of the machine that other processes used

    def markdown(self) -> str:
        """Return the row of the table."""
        asked = "as fast as answered" if self.asked_per_s is None else f"{self.asked_per_s:,}"
        return (
            f"| {asked} | {self.answered_per_s:,.0f} | {self.p50_ms:.1f} | {self.p99_ms:.1f} "
            f"| {self.core:.0%} | {self.elsewhere:.0%} |"
        )


@dataclass(frozen=True, slots=True)
class Push:
    """Updates that all clients should receive, at a push interval."""

    interval_s: float
    clients: int
    updates: int
    missed: int
    p50_ms: float
    p99_ms: float
    core: float
    elsewhere: float

    def markdown(self) -> str:
        """Return the row of the table."""
        return (
            f"| {self.interval_s:g} | {self.clients:,} | {self.updates} | {self.missed:,} "
            f"| {self.p50_ms:,.0f} | {self.p99_ms:,.0f} | {self.core:.0%} | {self.elsewhere:.0%} |"
        )


@dataclass(frozen=True, slots=True)
class Server:
    """The API under test, alone on its core, and the URL of Redis."""

    url: str
    pid: int
    redis_url: str

    @property
    def address(self) -> tuple[str, int]:
        """Host and port."""
        host, _, port = self.url.removeprefix("http://").rstrip("/").partition(":")
        return host, int(port)


def measure(*, seconds: float) -> tuple[list[Requests], list[Push]]:
    """Measure requests at the goal and at the maximum, then the push at two intervals."""
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, cores[1:] or cores)  # servers and clients inherit it
    try:
        with _stores() as (home, dsn, redis_url):
            settings = {"PIPELINE_POSTGRES__DSN": dsn, "PIPELINE_REDIS__URL": redis_url}
            requests, pushes = [], []
            for interval_s in (1.0, 0.25):
                configured = settings | {
                    "PIPELINE_API__TOKEN": TOKEN,
                    "PIPELINE_API__PUSH_INTERVAL_S": str(interval_s),
                }
                command = [
                    "-m",
                    "ray_pipeline.cli.main",
                    "api",
                    "--port",
                    "0",
                    "--until-stdin-ends",
                ]
                with started(command, configured, home=home) as process:
                    psutil.Process(process.pid).cpu_affinity(cores[:1])
                    assert process.stdout is not None
                    url = json.loads(process.stdout.readline())["url"]
                    server = Server(url, process.pid, redis_url)
                    if not requests:
                        requests = [_requests_undisturbed(server, rate, seconds) for rate in RATES]
                    pushes.append(_run(_push(server, interval_s=interval_s, seconds=seconds)))
    finally:
        os.sched_setaffinity(0, cores)
    return requests, pushes


def _requests_undisturbed(server: Server, per_s: int | None, seconds: float) -> Requests:
    """Return the measurement with the least load by other processes, of several."""
    measurements = [_run(_requests(server, per_s=per_s, seconds=seconds)) for _ in range(ATTEMPTS)]
    return min(measurements, key=lambda measured: measured.elsewhere)


@contextlib.contextmanager
def _stores() -> Iterator[tuple]:
    with temporary_home() as home, contextlib.ExitStack() as cleanup:
        postgres, valkey = PostgresServer(home / "postgres"), ValkeyServer(home / "valkey")
        for server in (postgres, valkey):
            cleanup.callback(server.stop)  # registered before the start, which may be interrupted
            server.start()
        asyncio.run(migrate(postgres.dsn))
        yield home, postgres.dsn, valkey.url


def _run(measurement: Coroutine[object, object, T]) -> T:
    return uvloop.run(measurement)


# Requests ----------------------------------------------------------------------------------------


class Caller(asyncio.Protocol):
    """A keep-alive connection that records the latency of each answer."""

    def __init__(self, request: bytes, answered: Callable[["Caller"], None]) -> None:
        self._request = request
        self._answered = answered
        self._transport: asyncio.Transport | None = None
        self._heard = b""
        self.since_s = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        # The transport of uvloop has the methods of asyncio's, but not its base class.
        self._transport = cast(asyncio.Transport, transport)

    def ask(self, *, since_s: float) -> None:
        """Send a request whose latency begins at this time."""
        assert self._transport is not None
        self.since_s = since_s
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        """Receive an answer, and check its status."""
        self._heard += data
        head, end, body = self._heard.partition(b"\r\n\r\n")
        if not end:
            return
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        if len(body) < length:
            return
        if not head.startswith(b"HTTP/1.1 200") or b'"price"' not in body:
            raise RuntimeError(f"not an answer: {self._heard[:200]!r}")
        self._heard = b""
        self._answered(self)

    def close(self) -> None:
        """Close the connection."""
        assert self._transport is not None
        self._transport.close()


@dataclass(slots=True)
class Load:
    """The connections with a pending request, the idle ones, and the requests that wait for one."""

    taken_s: list[float] = field(default_factory=list)
    idle: list[Caller] = field(default_factory=list)
    due_s: list[float] = field(default_factory=list)
    open_loop: bool = True

    def answered(self, caller: Caller) -> None:
        """Record an answer, and send the next request at once if one is due."""
        now_s = time.perf_counter()
        self.taken_s.append(now_s - caller.since_s)
        if not self.open_loop:
            caller.ask(since_s=now_s)
        elif self.due_s:
            caller.ask(since_s=self.due_s.pop(0))
        else:
            self.idle.append(caller)


async def _cache(server: Server) -> LatestCache:
    limits = CacheLimits(3600, 2.0, budget_bytes=128_000_000, realtime_keys=60)
    cache = LatestCache(server.redis_url, feed_named("sp500"), limits=limits, writer="benchmark")
    await cache.begin_rebuild()
    return cache


async def _requests(server: Server, *, per_s: int | None, seconds: float) -> Requests:
    cache = await _cache(server)
    await cache.write(_entries(1), complete_until_s=0.0)
    load = Load(open_loop=per_s is not None)
    loop = asyncio.get_running_loop()
    callers: list[Caller] = []
    for number in range(CONNECTIONS):
        request = (
            f"GET /v1/feeds/sp500/latest/{SYMBOLS[number]} HTTP/1.1\r\nHost: x\r\n"
            f"Authorization: Bearer {TOKEN}\r\n\r\n"
        ).encode()
        _, caller = await loop.create_connection(
            lambda request=request: Caller(request, load.answered), *server.address
        )
        callers.append(caller)
    ask = _steadily(load, per_s) if per_s else _at_once(callers)
    load.idle += callers if per_s else []
    asking = asyncio.create_task(ask)
    say(f"api: {per_s or 'as many as possible'} requests a second for {seconds:g} s")
    used = Usage({"api": server.pid, "rest": os.getpid()})
    # Sampling the processes blocks this one, so requests during that time are not counted.
    used.begin()
    await asyncio.sleep(WARM_UP_S)
    load.taken_s.clear()
    await asyncio.sleep(seconds)
    taken = sorted(taken_s * 1000 for taken_s in load.taken_s)
    used.finish()
    whole_s = WARM_UP_S + seconds
    asking.cancel()
    load.open_loop = True
    for caller in callers:
        caller.close()
    await cache.close()
    return Requests(
        per_s,
        len(taken) / seconds,
        quantile(taken, 0.5),
        quantile(taken, 0.99),
        used.by_stage["api"] / whole_s,
        used.other_s / (whole_s * CORES),
    )


async def _at_once(callers: Sequence[Caller]) -> None:
    for caller in callers:
        caller.ask(since_s=time.perf_counter())


async def _steadily(load: Load, per_s: int) -> None:
    """Send requests at a fixed rate; the time that a request waits for a connection counts."""
    next_s = time.perf_counter()
    while True:
        now_s = time.perf_counter()
        while next_s <= now_s:
            if load.idle:
                load.idle.pop().ask(since_s=next_s)
            else:
                load.due_s.append(next_s)
            next_s += 1 / per_s
        await asyncio.sleep(next_s - now_s)


# Push --------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Ear:
    """When a client received each update, by its number."""

    heard_s: dict[int, float] = field(default_factory=dict)


async def _push(server: Server, *, interval_s: float, seconds: float) -> Push:
    cache = await _cache(server)
    await cache.write(_entries(1), complete_until_s=0.0)
    ears = [Ear() for _ in range(CLIENTS)]
    async with contextlib.AsyncExitStack() as stack:
        listening: list[asyncio.Task[None]] = []
        for number, ear in enumerate(ears):
            wire = await stack.enter_async_context(
                connect(
                    server.url.replace("http:", "ws:") + f"ws/sp500?token={TOKEN}",
                    compression=None,
                    ping_interval=None,
                )
            )
            await wire.send(json.dumps({"subscribe": _wanted(number)}))
            listening.append(asyncio.create_task(_listen(wire, ear)))
        say(f"api: {CLIENTS:,} clients, an update a second, push interval {interval_s:g} s")
        await asyncio.sleep(WARM_UP_S + interval_s)
        used = Usage({"api": server.pid, "rest": os.getpid()})
        used.begin()
        sent_s = await _update(cache, seconds=seconds)
        used.finish()
        await asyncio.sleep(2 * interval_s + 1)  # the last update needs this time to arrive
        for task in listening:
            task.cancel()
        await asyncio.gather(*listening, return_exceptions=True)
    await cache.close()
    lags = sorted(
        (ear.heard_s[number] - at_s) * 1000
        for ear in ears
        for number, at_s in sent_s.items()
        if number in ear.heard_s
    )
    return Push(
        interval_s,
        CLIENTS,
        len(sent_s),
        CLIENTS * len(sent_s) - len(lags),
        quantile(lags, 0.5),
        quantile(lags, 0.99),
        used.by_stage["api"] / seconds,
        used.other_s / (seconds * CORES),
    )


def _wanted(number: int) -> list[str]:
    return [SYMBOLS[(number * 7 + step * 50) % len(SYMBOLS)] for step in range(WANTED)]


async def _listen(wire: ClientConnection, ear: Ear) -> None:
    async for text in wire:
        now_s = time.perf_counter()
        message = json.loads(text)
        if message["type"] == "values":
            for value in message["values"]:
                ear.heard_s.setdefault(value["volume"], now_s)


async def _update(cache: LatestCache, *, seconds: float) -> dict[int, float]:
    """Change every symbol once a second; return when Redis had each update, by its number."""
    sent_s: dict[int, float] = {}
    next_s = time.perf_counter()
    for number in range(2, int(seconds) + 2):
        await cache.write(_entries(number), complete_until_s=0.0)
        sent_s[number] = time.perf_counter()
        next_s += 1
        await asyncio.sleep(max(0.0, next_s - time.perf_counter()))
    return sent_s


def _entries(number: int) -> list[LatestValue]:
    """Return the values of every symbol; the volume is the number of the update."""
    at_ms = int(time.time() * 1000)
    entries = []
    for symbol in sorted(SYMBOLS):
        trade = Trade(symbol, Decimal("129.575"), Decimal(number), at_ms, epoch=1, seq=number)
        value = sp500.FEED.layout.value(trade)
        assert value is not None
        entries.append(LatestValue(symbol, at_ms, value))
    return entries


def section(requests: Sequence[Requests], pushes: Sequence[Push]) -> str:
    """Return the section of RESULTS.md."""
    return TEXT.format(
        requests="\n".join(row.markdown() for row in requests),
        pushes="\n".join(row.markdown() for row in pushes),
        connections=CONNECTIONS,
        wanted=WANTED,
        symbols=len(SYMBOLS),
        per_s=PER_S,
        attempts=ATTEMPTS,
        clients=CLIENTS,
    )


TEXT = """\
One process of `ray-pipeline api`, alone on one core; Redis, Postgres and all clients share the
remaining cores.

Latest values: `GET /v1/feeds/sp500/latest/SYMBOL` over {connections} keep-alive connections. At a
fixed rate, the latency of a request begins when it is due, even if no connection is free. The goal
is {per_s:,} requests per second with a p99 below 15 ms. Of {attempts} measurements, this is the one
with the least load by other processes.

| requested per s | answered per s | p50, ms | p99, ms | of the core | others |
|---|---|---|---|---|---|
{requests}

Push: each of {symbols} symbols changes once per second, and each client subscribes to {wanted} of
them. The lag is the time from Redis' answer to the writer until the client has parsed the message.
It includes the push interval, because the API reads Redis once per interval and sends at most one
message of values to a client in that time. The goal is {clients:,} clients that receive each
update. At the default interval of one second, two updates may occur between two reads; then the
later one counts.

| interval, s | clients | updates | missed, of all | p50, ms | p99, ms | of the core | others |
|---|---|---|---|---|---|---|---|
{pushes}

"others" is the share of the machine's CPU time that other processes used.
"""
