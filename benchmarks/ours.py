"""This pipeline's consumer in a process of its own: exactly once, both stores, bars."""

import asyncio
import json
import sys
import time

import uvloop

from ray_pipeline import settings
from ray_pipeline.services.partition_consumer_wiring import build_consumer, tune_garbage_collector


async def main(trades: int) -> None:
    """Store all trades, and print the times of the begin and the end."""
    tune_garbage_collector()
    service = build_consumer(settings.load(), "sp500", partitions=[0, 1, 2])
    running = asyncio.create_task(service.run())
    while service.status.state != "storing":
        await asyncio.sleep(0.001)
    print(json.dumps({"ready_s": time.time()}), flush=True)
    while service.status.stored < trades or not service.written():
        await asyncio.sleep(0.005)
    print(json.dumps({"done_s": time.time()}), flush=True)
    await running


uvloop.run(main(int(sys.argv[1])))
