"""Run one producer until killed: python -m tests.producer_process FEED SHARD, settings on stdin."""

import asyncio
import pickle
import sys

from ray_pipeline.services.shard_wiring import build_producer
from ray_pipeline.settings import Settings


async def produce(settings: Settings, feed: str, shard: int, symbols: list[str]) -> None:
    """Collect exactly these symbols."""
    producer = await build_producer(settings, feed, shard)
    producer.set_symbols(dict.fromkeys(symbols))
    await producer.run()


if __name__ == "__main__":
    configured, wanted = pickle.load(sys.stdin.buffer)
    asyncio.run(produce(configured, sys.argv[1], int(sys.argv[2]), wanted))
