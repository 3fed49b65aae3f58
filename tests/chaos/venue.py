"""
The venue: the Finnhub simulator, with a log of every trade that it wrote to a socket.

    python -m tests.chaos.venue DIRECTORY RATE SEED

The log is the independent record with which Postgres is compared. Its lines are

    O time connection shard                             a client connected
    C time connection shard                             its connection ended
    T time connection shard symbol price volume ms      a trade was written to its socket
    M ...                                               the same, if the write failed or timed out

Each trade has a serial number as its price. Some trades are sent twice, byte for byte: they are two
trades, and a comparison of sets would miss the loss of one.
"""

import asyncio
import contextlib
import itertools
import json
import signal
import sys
import time
from collections.abc import Iterable
from pathlib import Path

import msgspec
from aiohttp import web

from ray_pipeline.simulators.base import Connection
from ray_pipeline.simulators.finnhub import FinnhubSimulator
from ray_pipeline.simulators.options import Options
from ray_pipeline.simulators.prices import chunks
from ray_pipeline.simulators.recording import Frame

LEAST_PRICE = 10_000  # prices below it are those of faulty frames
CENTS = 100
TWIN_SHARE = 0.02
# A client that does not read for this long is disconnected, as a venue does with slow clients.
SLOW_CLIENT_S = 5.0
FLUSH_S = 0.2


def price_of(serial: int) -> str:
    """Return the price of a trade, without trailing zeros."""
    cents = LEAST_PRICE * CENTS + serial
    return f"{cents // CENTS}.{cents % CENTS:02d}".rstrip("0").rstrip(".")


class LoggedVenue(FinnhubSimulator):
    """Sends numbered trades and logs those that it wrote."""

    def __init__(self, options: Options, *, log: Path) -> None:
        super().__init__(options)
        self._log = log.open("a", encoding="utf-8")
        self._serials = itertools.count(1)
        self._numbers = itertools.count(1)
        self._turns = itertools.count()
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

    def generate(self, symbols: list[str], count: int) -> Iterable[Frame]:
        """Yield frames of numbered trades, some of them twice."""
        for size in chunks(count, self.random) if symbols else ():
            # In turn, so that no symbol is silent by chance, which a producer takes for a stall.
            symbol = symbols[next(self._turns) % len(symbols)]
            at_ms = int(time.time() * 1000)
            trades = [trade for _ in range(size) for trade in self._trades(symbol, at_ms)][:size]
            text = f'{{"data":[{",".join(trades)}],"type":"trade"}}'
            yield Frame(at_ms, frozenset({symbol}), text, len(trades))

    def _trades(self, symbol: str, at_ms: int) -> list[str]:
        serial = next(self._serials)
        price, volume = price_of(serial), serial % 997 + 1
        trade = f'{{"c":["1"],"p":{price},"s":"{symbol}","t":{at_ms},"v":{volume}}}'
        return [trade] * (2 if self.random.random() < TWIN_SHARE else 1)

    async def send_generated(self, due: int) -> None:
        """Send to all connections at once, so that a slow client does not delay the others."""
        live = [client for client in self.connections if self._sending(client)]
        frames = [
            (
                client,
                list(
                    self.generate(self._sending(client), due // len(live) + (i < due % len(live)))
                ),
            )
            for i, client in enumerate(live)
        ]
        await asyncio.gather(*(self._send_all(client, batch) for client, batch in frames))

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
        for trade in msgspec.json.decode(frame.text)["data"]:
            # The price as text, because a float would not keep its digits.
            serial_price = price_of(round(trade["p"] * CENTS) - LEAST_PRICE * CENTS)
            self._write(
                "T" if written else "M",
                connection,
                f" {trade['s']} {serial_price} {trade['v']} {trade['t']}",
            )
        return written

    async def do_terminate(self, code: int = 1011, shard: int = 1) -> None:
        """Close the connection of one shard."""
        await self.do_close(code, key=f"shard-{shard}")

    def _write(self, kind: str, connection: Connection, rest: str = "") -> None:
        number = self._connection_numbers.get(connection, 0)
        shard = connection.key.rpartition("-")[2]
        self._log.write(f"{kind} {time.time():.3f} {number} {shard}{rest}\n")

    async def flush_regularly(self) -> None:
        """Write the log to the disk a few times a second."""
        while True:
            await asyncio.sleep(FLUSH_S)
            self._log.flush()

    def close_log(self) -> None:
        """Complete the log."""
        self._log.close()


async def serve(directory: Path, rate: float, seed: int) -> None:
    """Print the addresses, then send until SIGTERM."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    venue = LoggedVenue(Options(rate=rate, seed=seed, ping_s=5.0), log=directory / "sent.log")
    async with venue:
        print(json.dumps({"port": venue.port, "control_url": venue.control_url}), flush=True)
        flushing = asyncio.create_task(venue.flush_regularly())
        await stop.wait()
        flushing.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await flushing
    venue.close_log()


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3])))
