"""
Every simulated provider at its own address and port 443, in one process.

    python -m tests.kube.providers

The logs of the venues are the record with which Postgres is compared.
"""

import asyncio
import contextlib
import signal

from ray_pipeline.simulators.base import Options
from ray_pipeline.simulators.rest import RestOptions, RestSimulator
from tests.chaos.venue import LoggedBithumb, LoggedFinnhub, LoggedUpbit, LoggedVenue
from tests.kube.cache import BITHUMB, FINNHUB, PROVIDERS, REST, UPBIT

PORT, CONTROL_PORT = 443, 8443
FINNHUB_RATE, EXCHANGE_RATE = 40.0, 20.0


class FairFinnhub(LoggedFinnhub):
    """
    The logged venue, for a low rate: no connection waits for long.

    A tick sends at most one record, and the venue gives it to the first of its connections.
    """

    async def send_generated(self, due: int) -> None:
        """Begin with another connection than the last time."""
        if due and self.connections:
            self.connections.append(self.connections.pop(0))
        await super().send_generated(due)


async def serve() -> None:
    """Serve until SIGTERM."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    venues: list[LoggedVenue] = [
        FairFinnhub(_options(FINNHUB, FINNHUB_RATE), directory=PROVIDERS),
        LoggedBithumb(_options(BITHUMB, EXCHANGE_RATE), directory=PROVIDERS),
        LoggedUpbit(_options(UPBIT, EXCHANGE_RATE), directory=PROVIDERS),
    ]
    async with contextlib.AsyncExitStack() as stack:
        for venue in venues:
            await stack.enter_async_context(venue)
        rest = RestOptions(host=REST, port=PORT, control_port=CONTROL_PORT)
        await stack.enter_async_context(RestSimulator(rest))
        flushing = [asyncio.create_task(venue.flush_regularly()) for venue in venues]
        await stop.wait()
        for task in flushing:
            task.cancel()
    for venue in venues:
        venue.close_logs()


def _options(address: str, rate: float) -> Options:
    return Options(host=address, port=PORT, control_port=CONTROL_PORT, rate=rate)


if __name__ == "__main__":
    asyncio.run(serve())
