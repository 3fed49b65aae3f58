"""
Every simulated provider at its own address and port 443, in one process.

    python -m tests.kube.providers

Finnhub's log, `sent.log`, is the record with which Postgres is compared.
"""

import asyncio
import contextlib
import signal

from ray_pipeline.simulators.base import Options
from ray_pipeline.simulators.bithumb import BithumbSimulator
from ray_pipeline.simulators.rest import RestOptions, RestSimulator
from ray_pipeline.simulators.upbit import UpbitSimulator
from tests.chaos.venue import LoggedVenue
from tests.kube.cache import BITHUMB, FINNHUB, PROVIDERS, REST, UPBIT

PORT, CONTROL_PORT = 443, 8443
FINNHUB_RATE, EXCHANGE_RATE = 40.0, 20.0


async def serve() -> None:
    """Serve until SIGTERM."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    venue = LoggedVenue(_options(FINNHUB, FINNHUB_RATE), log=PROVIDERS / "sent.log")
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
