"""
One part of the pipeline as a process: python -m tests.chaos.child ROLE [ARGUMENT].

The settings come from the environment. SIGTERM requests an orderly end. The process dies with the
harness, also if the harness is killed.
"""

import asyncio
import ctypes
import json
import logging
import os
import signal
import sys
from collections.abc import Awaitable, Callable

from ray_pipeline import settings
from ray_pipeline.services.partition_consumer_wiring import build_consumer, tune_garbage_collector
from ray_pipeline.services.shard_wiring import build_producer
from ray_pipeline.settings import Settings

FEED = "sp500"
DRAIN_S = 30.0
PR_SET_PDEATHSIG = 1

Role = Callable[[Settings, str, asyncio.Event], Awaitable[None]]


async def produce(configured: Settings, shard: str, stop: asyncio.Event) -> None:
    """Run the producer of a shard, wired as the actor wires it."""
    building = asyncio.create_task(build_producer(configured, FEED, int(shard)))
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait({building, stopping}, return_when=asyncio.FIRST_COMPLETED)
    if not building.done():
        building.cancel()
        return
    producer = building.result()
    running = asyncio.create_task(producer.run())
    await asyncio.wait({running, stopping}, return_when=asyncio.FIRST_COMPLETED)
    if stop.is_set():
        await producer.stop(drain_s=DRAIN_S)
    await running


async def consume(configured: Settings, partitions: str, stop: asyncio.Event) -> None:
    """Run the consumer of some partitions, wired as the actor wires it."""
    tune_garbage_collector()
    consumer = build_consumer(configured, FEED, partitions=json.loads(partitions))
    running = asyncio.create_task(consumer.run())
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait({running, stopping}, return_when=asyncio.FIRST_COMPLETED)
    consumer.stop()
    await running


ROLES: dict[str, Role] = {"producer": produce, "consumer": consume}


async def run(role: str, argument: str) -> None:
    """Run a role until it ends or SIGTERM arrives."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await ROLES[role](settings.load(), argument, stop)


def die_with_parent() -> None:
    """Let Linux kill this process when the harness ends."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() == 1:
        sys.exit("the harness has ended")


if __name__ == "__main__":
    die_with_parent()
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    asyncio.run(run(sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else ""))
