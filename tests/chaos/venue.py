"""
The venues: the simulators of Finnhub, Bithumb and Upbit, with a log of all that they wrote.

    python -m tests.chaos.venue DIRECTORY RATE SEED

Each feed has a log, the independent record with which Postgres is compared. Its lines are

    O time connection shard                             a client connected
    C time connection shard                             its connection ended
    T time connection shard symbol price volume ms      a trade was written to its socket
    M ...                                               it may have arrived: the write failed or
                                                        timed out, or it was an answer over REST

Each trade has a serial number as its price. Some trades are sent twice, byte for byte: they are two
trades, and a comparison of sets would miss the loss of one.

A snapshot repeats the latest trade of its market, and the pipeline stores a trade once, however
often snapshots show it. So a snapshot is a line only if nothing has shown its trade before.
"""

import asyncio
import contextlib
import itertools
import json
import signal
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TextIO

import msgspec
from aiohttp import web

from ray_pipeline.simulators.base import Connection, Simulator
from ray_pipeline.simulators.bithumb import BithumbSimulator
from ray_pipeline.simulators.finnhub import FinnhubSimulator
from ray_pipeline.simulators.options import Options
from ray_pipeline.simulators.prices import chunks
from ray_pipeline.simulators.recording import Frame
from ray_pipeline.simulators.upbit import UpbitSimulator

LEAST_PRICE = 10_000  # prices below it are those of faulty frames
CENTS = 100
TWIN_SHARE = 0.02
# A client that does not read for this long is disconnected, as a venue does with slow clients.
SLOW_CLIENT_S = 5.0
FLUSH_S = 0.2
CALLS_LOG = "venue_calls.log"
TICKER_SHARE = 0.1  # of Finnhub's rate, for each venue of tickers


def price_of(serial: int) -> str:
    """Return the price of a trade, without trailing zeros."""
    cents = LEAST_PRICE * CENTS + serial
    return f"{cents // CENTS}.{cents % CENTS:02d}".rstrip("0").rstrip(".")


def serial_of(price: float) -> int:
    """Return the number of the trade with a price."""
    return round(price * CENTS) - LEAST_PRICE * CENTS


def stream_key(stream: tuple[str, int]) -> str:
    """Return the key that a stream connects with; a log knows the stream by it."""
    return "{}-{}".format(*stream)


def sent_log(directory: Path, feed: str) -> Path:
    """Return the log of a feed."""
    return directory / f"sent-{feed}.log"


class LoggedVenue(Simulator):
    """Logs what it wrote; subclasses number the trades."""

    def __init__(self, options: Options, *, directory: Path) -> None:
        super().__init__(options)
        self._directory = directory
        self._logs: dict[str, TextIO] = {}
        self._serials = itertools.count(1)
        self._numbers = itertools.count(1)
        self._turns = itertools.count(1)
        self._turns_of: dict[tuple[str, ...], dict[str, int]] = {}
        self._connection_numbers: dict[Connection, int] = {}

    async def serve_socket(self, request: web.Request, key: str) -> web.StreamResponse:
        """Log the connections, too."""
        try:
            return await super().serve_socket(request, key)
        finally:
            for connection in [c for c in self._connection_numbers if c.request is request]:
                self._write("C", connection)
                del self._connection_numbers[connection]

    async def on_text(self, connection: Connection, text: str) -> None:
        """Log a client at its first frame."""
        if connection not in self._connection_numbers:
            self._connection_numbers[connection] = next(self._numbers)
            self._write("O", connection)
        await super().on_text(connection, text)

    async def send_generated(self, due: int) -> None:
        """Send to all connections at once, so that a slow client does not delay the others."""
        live = [client for client in self.connections if client.symbols]
        frames = [
            (
                client,
                list(
                    self.generate(
                        list(client.symbols), due // len(live) + (i < due % len(live))
                    )
                ),
            )
            for i, client in enumerate(live)
        ]  # fmt: skip
        await asyncio.gather(*(self._send_all(client, batch) for client, batch in frames))

    def generate(self, symbols: list[str], count: int) -> Iterable[Frame]:
        """Yield frames of numbered trades."""
        raise NotImplementedError

    def in_turn(self, symbols: list[str]) -> str:
        """Return the symbol whose turn is longest ago: a silent symbol looks like a stall."""
        # Of these symbols only: feeds share symbols, and one with few of them would take all turns.
        turn_of = self._turns_of.setdefault(tuple(symbols), {})
        symbol = min(symbols, key=lambda symbol: turn_of.get(symbol, 0))
        turn_of[symbol] = next(self._turns)
        return symbol

    async def _send_all(self, client: Connection, frames: list[Frame]) -> None:
        for frame in frames:
            if not await self.send_frame(client, frame):
                return

    async def send(self, connection: Connection, text: str) -> bool:
        """Disconnect a client that does not read."""
        try:
            async with asyncio.timeout(SLOW_CLIENT_S):
                return await super().send(connection, text)
        except TimeoutError:
            connection.abort()
            return False

    async def send_frame(self, connection: Connection, frame: Frame) -> bool:
        """Log the trades of a frame after it was written."""
        if connection.socket.closed or connection not in self.connections:
            return False
        # A write that fails or is cut short may have reached the client in part.
        written = await super().send_frame(connection, frame)
        for trade in self.trades_in(frame, written=written):
            self._write("T" if written else "M", connection, trade)
        return written

    def trades_in(self, frame: Frame, *, written: bool) -> Iterator[str]:
        """Yield "symbol price volume ms" of each trade for which the log has a line."""
        raise NotImplementedError

    def _write(self, kind: str, connection: Connection, trade: str = "") -> None:
        number = self._connection_numbers.get(connection, 0)
        self.log_line(connection.key, f"{kind} {time.time():.3f} {number}", trade)

    def log_line(self, key: str, start: str, trade: str) -> None:
        """Write a line to the log of the feed with a key."""
        feed, _, shard = key.rpartition("-")
        if feed not in self._logs:
            self._logs[feed] = sent_log(self._directory, feed).open("a", encoding="utf-8")
        self._logs[feed].write(f"{start} {shard} {trade}".rstrip() + "\n")

    async def flush_regularly(self) -> None:
        """Write the logs to the disk a few times a second."""
        while True:
            await asyncio.sleep(FLUSH_S)
            for log in self._logs.values():
                log.flush()

    def close_logs(self) -> None:
        """Complete the logs."""
        for log in self._logs.values():
            log.close()


class LoggedFinnhub(LoggedVenue, FinnhubSimulator):
    """Sends frames of numbered trades, some of them twice."""

    def generate(self, symbols: list[str], count: int) -> Iterable[Frame]:
        """Yield frames of numbered trades, some of them twice."""
        for size in chunks(count, self.random) if symbols else ():
            symbol = self.in_turn(symbols)
            at_ms = int(time.time() * 1000)
            trades = [trade for _ in range(size) for trade in self._trades(symbol, at_ms)][:size]
            text = f'{{"data":[{",".join(trades)}],"type":"trade"}}'
            yield Frame(at_ms, frozenset({symbol}), text, len(trades))

    def _trades(self, symbol: str, at_ms: int) -> list[str]:
        serial = next(self._serials)
        price, volume = price_of(serial), serial % 997 + 1
        trade = f'{{"c":["1"],"p":{price},"s":"{symbol}","t":{at_ms},"v":{volume}}}'
        return [trade] * (2 if self.random.random() < TWIN_SHARE else 1)

    def trades_in(self, frame: Frame, *, written: bool) -> Iterator[str]:
        """Yield all trades."""
        for trade in msgspec.json.decode(frame.text)["data"]:
            # The price as text, because a float would not keep its digits.
            yield f"{trade['s']} {price_of(serial_of(trade['p']))} {trade['v']} {trade['t']}"


class _Markets(tuple[str, ...]):
    """The listed markets. Others exist, too: a job collects a list with more of them."""

    __slots__ = ()

    def __contains__(self, code: object) -> bool:
        return str(code).startswith("KRW-")


class LoggedBithumb(LoggedVenue, BithumbSimulator):
    """Sends one numbered ticker a frame, some of them twice, and answers over REST."""

    key = "bithumb-0"

    def __init__(self, options: Options, *, directory: Path) -> None:
        super().__init__(options, directory=directory)
        self._markets = _Markets(self._markets)
        self._shown: set[int] = set()
        self._answered: set[int] = set()

    async def _connect(self, request: web.Request) -> web.StreamResponse:
        # With a key, a new connection ends the previous one. Otherwise a connection that the client
        # has given up would be sent tickers that the new one is not sent.
        return await self.serve_socket(request, self.key)

    def generate(self, symbols: list[str], count: int) -> Iterable[Frame]:
        """Yield numbered tickers, some of them twice."""
        left = count if symbols else 0
        while left > 0:
            frame = self._frame(self.in_turn(symbols), "REALTIME")
            times = 2 if self.random.random() < TWIN_SHARE else 1
            yield from itertools.repeat(frame, times)
            left -= times

    def _next(self, code: str) -> dict[str, object]:
        # The simulator repeats this very object in snapshots and over REST.
        ticker = super()._next(code)
        serial = next(self._serials)
        ticker["trade_price"] = float(price_of(serial))
        ticker["trade_volume"] = serial % 997 + 1
        return ticker

    def trades_in(self, frame: Frame, *, written: bool) -> Iterator[str]:
        """Yield the trade, but not that of a snapshot which was shown before."""
        ticker = msgspec.json.decode(frame.text)
        serial = serial_of(ticker["trade_price"])
        if ticker["stream_type"] == "REALTIME" or serial not in self._shown:
            yield _shown(ticker["code"], ticker)
        if written:
            self._shown.add(serial)

    def _rest(self, code: str) -> dict[str, object]:
        ticker = super()._rest(code)
        shown = self._last[code]
        serial = serial_of(float(str(shown["trade_price"])))
        if serial not in self._shown and serial not in self._answered:
            self._answered.add(serial)
            self.log_line(self.key, f"M {time.time():.3f} 0", _shown(code, shown))
        return ticker

    async def _answer_tickers(self, request: web.Request) -> web.Response:
        with (self._directory / CALLS_LOG).open("a", encoding="utf-8") as log:
            log.write(f"{time.monotonic():.6f} {time.time():.6f} bithumb -\n")
        return await super()._answer_tickers(request)


class LoggedUpbit(LoggedBithumb, UpbitSimulator):
    """As Bithumb; the pipeline does not call its REST API for tickers."""

    key = "upbit-0"


def _shown(code: str, ticker: Mapping[str, object]) -> str:
    price = price_of(serial_of(float(str(ticker["trade_price"]))))
    return f"{code} {price} {ticker['trade_volume']} {ticker['timestamp']}"


async def serve(directory: Path, rate: float, seed: int) -> None:
    """Print the addresses, then send until SIGTERM."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    tickers = Options(rate=rate * TICKER_SHARE, seed=seed)
    venues: dict[str, LoggedVenue] = {
        "finnhub": LoggedFinnhub(Options(rate=rate, seed=seed, ping_s=5.0), directory=directory),
        "bithumb": LoggedBithumb(tickers, directory=directory),
        "upbit": LoggedUpbit(tickers, directory=directory),
    }
    async with contextlib.AsyncExitStack() as running:
        for venue in venues.values():
            await running.enter_async_context(venue)
        addresses = {
            "ports": {name: venue.port for name, venue in venues.items()},
            "control_urls": {name: venue.control_url for name, venue in venues.items()},
        }
        print(json.dumps(addresses), flush=True)
        flushing = [asyncio.create_task(venue.flush_regularly()) for venue in venues.values()]
        await stop.wait()
        for task in flushing:
            task.cancel()
        await asyncio.gather(*flushing, return_exceptions=True)
    for venue in venues.values():
        venue.close_logs()


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3])))
