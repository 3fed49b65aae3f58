"""
The providers of the batch jobs: the REST simulator, with a log of every call at its arrival.

    python -m tests.chaos.provider DIRECTORY

A line of the log is "monotonic-seconds unix-seconds provider key". Calls past a quota are answered
like any other: the log alone decides whether a quota was exceeded.
"""

import asyncio
import json
import signal
import sys
import time
from pathlib import Path

from ray_pipeline.providers.provider import Provider
from ray_pipeline.simulators.rest import RestSimulator


class LoggedProviders(RestSimulator):
    """Answers every call and logs it."""

    def __init__(self, *, log: Path) -> None:
        super().__init__()
        self._log = log.open("a", encoding="utf-8", buffering=1)

    def _over_quota(self, provider: Provider, key: str) -> bool:
        """Log a call that counts towards the provider's quota."""
        self._log.write(f"{time.monotonic():.6f} {time.time():.6f} {provider.name} {key or '-'}\n")
        return super()._over_quota(provider, key)

    def close_log(self) -> None:
        """Complete the log."""
        self._log.close()


async def serve(directory: Path) -> None:
    """Print the addresses, then answer until SIGTERM."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    providers = LoggedProviders(log=directory / "calls.log")
    async with providers:
        addresses = {
            "ports": {"rest": providers.port},
            "control_urls": {"rest": providers.control_url},
        }
        print(json.dumps(addresses), flush=True)
        await stop.wait()
    providers.close_log()


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1])))
