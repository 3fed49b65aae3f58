"""
Every simulated provider at its own address and port 443, in one process.

    python -m tests.kube.providers

Finnhub's log, `sent.log`, is the record with which Postgres is compared.
"""

import asyncio
import contextlib
import itertools
import signal
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

from ray_pipeline.simulators.base import Options
from ray_pipeline.simulators.bithumb import BithumbSimulator
from ray_pipeline.simulators.recording import Frame
from ray_pipeline.simulators.rest import RestOptions, RestSimulator
from ray_pipeline.simulators.upbit import UpbitSimulator
from tests.chaos.venue import LoggedVenue
from tests.kube.cache import BITHUMB, FINNHUB, PROVIDERS, REST, UPBIT

PORT, CONTROL_PORT = 443, 8443
FINNHUB_RATE, EXCHANGE_RATE = 40.0, 20.0


class FairVenue(LoggedVenue):
    """
    The logged venue, for a low rate: no connection and no symbol waits for long.

    A tick sends at most one record, which the venue gives to the first of its connections, and the
    connections share the turn of symbols. Producers would take silent symbols for stalled ones.
    """

    def __init__(self, options: Options, *, log: Path) -> None:
        super().__init__(options, log=log)
        self._turns_of: defaultdict[str, Iterator[int]] = defaultdict(itertools.count)

    def generate(self, symbols: list[str], count: int) -> Iterable[Frame]:
        """Yield frames, with a turn of each connection's own."""
        if symbols:
            self._turns = self._turns_of[symbols[0]]
        yield from super().generate(symbols, count)

    async def send_generated(self, due: int) -> None:
        """Begin with another connection than the last time."""
        if due and self.connections:
            self.connections.append(self.connections.pop(0))
        await super().send_generated(due)


async def serve() -> None:
    """Serve until SIGTERM."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    venue = FairVenue(_options(FINNHUB, FINNHUB_RATE), log=PROVIDERS / "sent.log")
    async with contextlib.AsyncExitStack() as stack:
        await stack.enter_async_context(venue)
        for kind, address in ((BithumbSimulator, BITHUMB), (UpbitSimulator, UPBIT)):
            await stack.enter_async_context(kind(_options(address, EXCHANGE_RATE)))
        rest = RestOptions(host=REST, port=PORT, control_port=CONTROL_PORT)
        await stack.enter_async_context(RestSimulator(rest))
        flushing = asyncio.create_task(venue.flush_regularly())
        await stop.wait()
        flushing.cancel()
    venue.close_log()


def _options(address: str, rate: float) -> Options:
    return Options(host=address, port=PORT, control_port=CONTROL_PORT, rate=rate)


if __name__ == "__main__":
    asyncio.run(serve())
