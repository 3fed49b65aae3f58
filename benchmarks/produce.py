"""Run this pipeline's producer of one shard in a process until standard input ends."""

import asyncio
import sys

import uvloop

from ray_pipeline import settings
from ray_pipeline.actors.producer import build_producer


async def main() -> None:
    """Collect the first S&P 500 shard."""
    producer = await build_producer(settings.load(), "sp500", 1)
    ended = asyncio.Event()
    asyncio.get_running_loop().add_reader(sys.stdin, ended.set)
    running = asyncio.create_task(producer.run())
    await ended.wait()
    asyncio.get_running_loop().remove_reader(sys.stdin)
    await producer.stop(drain_s=5)
    await running


uvloop.run(main())
