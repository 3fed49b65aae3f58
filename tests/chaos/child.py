"""
One part of the pipeline as a process: python -m tests.chaos.child ROLE [ARGUMENT].

The settings come from the environment. SIGTERM requests an orderly end. The process dies with the
harness, also if the harness is killed.
"""

import asyncio
import ctypes
import itertools
import json
import logging
import os
import random
import signal
import sys
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from ray_pipeline import settings
from ray_pipeline.batch.permits import Limiter
from ray_pipeline.catalog import all_jobs
from ray_pipeline.errors import DatabaseUnavailable, PipelineError
from ray_pipeline.lease import Ownership
from ray_pipeline.services import scheduling
from ray_pipeline.services.job_run import collect, holder_name
from ray_pipeline.services.partition_consumer_wiring import build_consumer, tune_garbage_collector
from ray_pipeline.services.scheduling import schedule
from ray_pipeline.services.shard_wiring import build_producer
from ray_pipeline.settings import Settings
from ray_pipeline.storage.postgres.leases import Leases
from ray_pipeline.tasks import first_of
from tests.chaos.limiter import LimiterClient, LimiterServer
from tests.chaos.slots import LoggedSubmitter, scheduled_jobs

log = logging.getLogger(__name__)

DRAIN_S = 30.0
RUN_PAUSE_S = 0.2
OUTAGE_PAUSE_S = 2.0
PR_SET_PDEATHSIG = 1

Role = Callable[[Settings, str, asyncio.Event], Awaitable[None]]


async def produce(configured: Settings, streams: str, stop: asyncio.Event) -> None:
    """Run the producers of some shards until one of them ends, wired as the actor wires them."""
    async with asyncio.TaskGroup() as group:
        for feed, shard in json.loads(streams):
            group.create_task(_produce_shard(configured, feed, shard, stop))


async def _produce_shard(configured: Settings, feed: str, shard: int, stop: asyncio.Event) -> None:
    building = asyncio.create_task(build_producer(configured, feed, shard))
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
    """Run the consumers of some partitions by feed, wired as the actor wires them."""
    tune_garbage_collector()
    async with asyncio.TaskGroup() as group:
        for feed, numbers in json.loads(partitions).items():
            group.create_task(_consume_partitions(configured, feed, numbers, stop))


async def _consume_partitions(
    configured: Settings, feed: str, numbers: Sequence[int], stop: asyncio.Event
) -> None:
    consumer = build_consumer(configured, feed, partitions=numbers)
    running = asyncio.create_task(consumer.run())
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait({running, stopping}, return_when=asyncio.FIRST_COMPLETED)
    consumer.stop()
    await running


async def limit(configured: Settings, port: str, stop: asyncio.Event) -> None:
    """Run the limiter at a port."""
    await LimiterServer(configured).serve(int(port), stop)


async def collect_repeatedly(configured: Settings, argument: str, stop: asyncio.Event) -> None:
    """
    Run jobs one after the other, each for a new slot, so that the quotas are always contended.

    The argument is the limiter's address and names of jobs, separated by commas. Every second run
    uses the ledger itself, as a run does that is started by hand.
    """
    address, *names = argument.split(",")
    jobs = [job for job in all_jobs() if job.name in names]
    limiters: tuple[Limiter | None, ...] = (LimiterClient(address), None)
    for spec, limiter in zip(itertools.cycle(jobs), itertools.cycle(limiters), strict=False):
        if stop.is_set():
            return
        try:
            outcome = await collect(configured, spec, datetime.now(UTC), limiter=limiter)
            log.info("%s: %s %s", spec.name, outcome.state, outcome.why)
        except PipelineError as error:
            log.warning("%s: %s", spec.name, error)
        await asyncio.wait([asyncio.ensure_future(stop.wait())], timeout=RUN_PAUSE_S)


async def schedule_runs(configured: Settings, log_file: str, stop: asyncio.Event) -> None:
    """Run the scheduler under its lease, as the actor does; runs are processes, and logged."""
    scheduling.all_jobs = scheduled_jobs
    submitter = LoggedSubmitter(configured.environment(), Path(log_file))
    leases = Leases(configured.postgres_dsn())
    while not stop.is_set():
        ownership = Ownership(
            leases,
            "scheduler",
            holder=holder_name(),
            generation=configured.ray.generation,
            ttl_s=configured.streams.lease_ttl_s,
            random=random.Random(),
        )
        await first_of(_take(ownership), stop.wait())
        try:
            ticks = _tick_repeatedly(configured, submitter, ownership)
            await first_of(ownership.hold(), ticks, stop.wait())
        finally:
            await ownership.release()


async def _take(ownership: Ownership) -> None:
    await ownership.take()


async def _tick_repeatedly(
    configured: Settings, submitter: LoggedSubmitter, ownership: Ownership
) -> None:
    while True:
        try:
            await schedule(
                configured, submitter, may_act=ownership.valid, on_tick=lambda _count: None
            )
        except DatabaseUnavailable as error:
            log.warning("%s", error)
            await asyncio.sleep(OUTAGE_PAUSE_S)


ROLES: dict[str, Role] = {
    "producer": produce,
    "consumer": consume,
    "limiter": limit,
    "runs": collect_repeatedly,
    "scheduler": schedule_runs,
}


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
