"""A consumer as an actor: it gives `stream.partition_consumer` a process and a mailbox."""

import asyncio
import os
from collections.abc import Iterable, Sequence

from ray_pipeline.actors.producer import exit_on_failure
from ray_pipeline.actors.ray_metrics import report
from ray_pipeline.observe.metrics import Sample, consumer_metrics
from ray_pipeline.services.partition_consumer_wiring import build_consumer, tune_garbage_collector
from ray_pipeline.settings import Settings
from ray_pipeline.tasks import run_with


class ConsumerActor:
    """Consumes partitions of a feed from its construction on."""

    def __init__(self, settings: Settings, feed: str, partitions: Sequence[int]) -> None:
        tune_garbage_collector()
        self._feed = feed
        self._partitions = list(partitions)
        self._consumer = build_consumer(settings, feed, partitions=partitions)
        reporting = report(self._metrics, generation=settings.ray.generation)
        self._task = asyncio.get_running_loop().create_task(
            run_with(self._consumer.run(), reporting)
        )
        self._task.add_done_callback(exit_on_failure)

    def __repr__(self) -> str:
        return f"Consumer({self._feed}/{','.join(map(str, self._partitions))})"

    async def status(self) -> dict[str, object]:
        """Return the consumer's state and its counts."""
        status = self._consumer.status
        state, cause = self._consumer.situation()
        return {
            "feed": self._feed,
            "partitions": self._partitions,
            "pid": os.getpid(),
            "state": state,
            "cause": cause,
            "redis": status.redis_state,
            "stored": status.stored,
            "parked": status.parked,
            "redelivered": status.redelivered,
            "batches": status.batches,
            "lag": dict(status.lag),
        }

    def _metrics(self) -> Iterable[Sample]:
        status = self._consumer.status
        latencies_ms = list(status.latencies_ms)
        status.latencies_ms.clear()
        return consumer_metrics(
            self._feed,
            ",".join(map(str, self._partitions)),
            stored=status.stored,
            lag=status.lag,
            latencies_ms=latencies_ms,
            situation=self._consumer.situation(),
        )

    async def stop(self, drain_s: float) -> bool:
        """Finish what was read and release the partitions; return False if that took too long."""
        self._consumer.stop()
        done, _ = await asyncio.wait({self._task}, timeout=drain_s)
        return bool(done)

    async def pause(self) -> None:
        """Stop storing until `resume`."""
        self._consumer.pause()

    async def resume(self) -> None:
        """Continue after `pause`."""
        self._consumer.resume()
