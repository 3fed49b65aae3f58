"""
Run one producer until killed: python -m tests.producer_process FEED SHARD, settings on stdin.

SIGUSR1 lets it allocate memory, as a leak would.
"""

import asyncio
import pickle
import signal
import sys

from ray_pipeline.services.shard_wiring import build_producer
from ray_pipeline.settings import Settings

LEAK_BYTES = 256 * 2**20

_leaked: list[bytes] = []


async def produce(settings: Settings, feed: str, shard: int, symbols: list[str]) -> None:
    """Collect exactly these symbols."""
    producer = await build_producer(settings, feed, shard)
    producer.set_symbols(dict.fromkeys(symbols))
    await producer.run()


if __name__ == "__main__":
    # Every page is written, because the kernel counts only pages that are in use.
    signal.signal(signal.SIGUSR1, lambda _number, _frame: _leaked.append(b"x" * LEAK_BYTES))
    configured, wanted = pickle.load(sys.stdin.buffer)
    asyncio.run(produce(configured, sys.argv[1], int(sys.argv[2]), wanted))
