"""The actor of a producer: one connection to a venue, under a lease, into Kafka."""

import asyncio
import contextlib
import logging
import os
from collections.abc import Iterable, Mapping, Sequence

from ray_pipeline.actors.ray_metrics import report
from ray_pipeline.observe.metrics import Sample, producer_metrics
from ray_pipeline.services.shard_wiring import build_producer
from ray_pipeline.settings import Settings
from ray_pipeline.stream.shard_producer import Producer
from ray_pipeline.tasks import run_with

log = logging.getLogger(__name__)

STOP_MARGIN_S = 1.0


class ProducerActor:
    """Gives a producer a process and a mailbox. Its constructor starts the collecting."""

    def __init__(self, settings: Settings, feed: str, shard: int) -> None:
        self._name = f"{feed}/{shard:02d}"
        self._producer: Producer | None = None
        # What was requested before the producer existed; building it may wait for an outage to end.
        self._paused = False
        self._symbols: Mapping[str, str | None] = {}
        self._stopping = asyncio.Event()
        reporting = report(self._metrics, generation=settings.ray.generation)
        self._task = asyncio.get_running_loop().create_task(
            run_with(self._collect(settings, feed, shard), reporting)
        )
        self._task.add_done_callback(exit_on_failure)

    def __repr__(self) -> str:
        return f"Producer({self._name})"

    async def _collect(self, settings: Settings, feed: str, shard: int) -> None:
        producer = await build_producer(settings, feed, shard)
        if self._paused:
            producer.pause()
        if self._symbols:
            producer.set_symbols(self._symbols)
        self._producer = producer
        if not self._stopping.is_set():
            await producer.run()

    async def status(self) -> dict[str, object]:
        """Return the state of the producer."""
        if self._producer is None:
            return {"state": "starting", "pid": os.getpid()}
        return self._producer.status() | {"pid": os.getpid()}

    def _metrics(self) -> Iterable[Sample]:
        return producer_metrics(self._producer.status()) if self._producer else ()

    async def stop(self, drain_s: float) -> bool:
        """Stop reading, publish the remaining records, release the lease."""
        self._stopping.set()
        if self._producer is not None:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(
                    self._producer.stop(drain_s=drain_s), drain_s + STOP_MARGIN_S
                )
        return self._task.done()

    async def pause(self) -> None:
        """Disconnect until `resume`. The time is reported as a gap."""
        self._paused = True
        if self._producer is not None:
            self._producer.pause()

    async def resume(self) -> None:
        """Continue after `pause`."""
        self._paused = False
        if self._producer is not None:
            self._producer.resume()

    async def resubscribe(self, symbols: Sequence[str] | None = None) -> list[str]:
        """Subscribe again to these or to all symbols; return the symbols that are wanted."""
        return self._producer.resubscribe(symbols) if self._producer is not None else []

    async def set_symbols(self, symbols: Mapping[str, str | None]) -> None:
        """Collect these symbols instead of the usual ones. An empty mapping restores those."""
        self._symbols = symbols
        if self._producer is not None:
            self._producer.set_symbols(symbols)


def exit_on_failure(task: "asyncio.Task[None]") -> None:
    """End the process if the task failed, so that Ray restarts the actor."""
    if task.cancelled() or task.exception() is None:
        return
    log.error("the actor failed", exc_info=task.exception())
    os._exit(1)
