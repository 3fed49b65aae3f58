"""A consumer as an actor: it owns partitions, stores them, and says how it does."""

import asyncio
import contextlib
import gc
import logging
import os
import socket
import time
from collections.abc import AsyncIterator, Coroutine, Iterable, Mapping, Sequence
from random import Random
from typing import Any, Generic, TypeVar

from ray_pipeline.actors.producer import leave
from ray_pipeline.actors.ray_metrics import report
from ray_pipeline.errors import (
    BrokerUnavailable,
    CacheUnavailable,
    DatabaseUnavailable,
    OwnershipLost,
)
from ray_pipeline.feeds.feed import Feed, partition_of
from ray_pipeline.feeds.feed_registry import feed_named
from ray_pipeline.feeds.layout import Layout
from ray_pipeline.feeds.records import Record
from ray_pipeline.lease import Lease
from ray_pipeline.observe.metrics import Sample, consumer_metrics
from ray_pipeline.ownership import Ownership
from ray_pipeline.settings import Settings
from ray_pipeline.storage.kafka.broker import client_options
from ray_pipeline.storage.kafka.reader import KafkaLog, LagReporter
from ray_pipeline.storage.postgres.leases import Leases
from ray_pipeline.storage.postgres.losses import (
    Heartbeat,
    read_numbers,
    write_heartbeats,
    write_losses,
    write_reset,
)
from ray_pipeline.storage.postgres.stream_store import Store
from ray_pipeline.storage.redis.latest_cache import LatestCache
from ray_pipeline.storage.redis.rebuild import rebuilder
from ray_pipeline.stream.batch import Rules
from ray_pipeline.stream.consume import CacheWriter, Consumer, ConsumerStatus
from ray_pipeline.stream.missing import HoleWatch, missing

log = logging.getLogger(__name__)

T = TypeVar("T", bound=Record)

HEARTBEAT_S = 1.0
REPORT_EVERY_S = 5.0
LOSSES_EVERY_S = 5.0
LOSS_GRACE_S = 15.0
RETRY_S = 1.0
# The collector's first generation is asked for every 700 objects by default; most of ours are
# outside it, and the few that are not do not make cycles.
GC_THRESHOLDS = (50_000, 20, 50)


class ConsumerService(Generic[T]):
    """Stores some partitions of a feed for as long as it owns them, and owns them when it can."""

    def __init__(
        self, settings: Settings, spec: Feed, layout: Layout[T], *, partitions: Sequence[int]
    ) -> None:
        self._settings = settings
        self._spec = spec
        self._layout: Layout[T] = layout
        self._partitions = list(partitions)
        self._topic = settings.kafka.topic_prefix + spec.topic
        self._dsn = settings.postgres_dsn()
        self._holder = f"{socket.gethostname()}/{os.getpid()}/{id(self):x}"
        self._stop = asyncio.Event()
        self._resumed = asyncio.Event()
        self._resumed.set()
        self._interrupt = asyncio.Event()
        self._watch = HoleWatch(grace_s=LOSS_GRACE_S)
        self._writer: CacheWriter | None = None
        self._topic_partitions = 0  # of the whole topic; 0 before it is known
        self.status = ConsumerStatus()

    async def run(self) -> None:
        """Own and store until `stop`; every outage and every loss of ownership is waited out."""
        gc.freeze()
        gc.set_threshold(*GC_THRESHOLDS)
        async with self._beside(self._beat(), self._look_for_losses()):
            while not self._stop.is_set():
                await self._resumed.wait()
                self._interrupt.clear()
                try:
                    await self._own_and_store()
                except* (BrokerUnavailable, DatabaseUnavailable, OwnershipLost) as group:
                    error = group.exceptions[0]
                    self.status.state, self.status.cause = "waiting", str(error)
                    log.warning("%s: %s", self._topic, error)
                    await self._pause(RETRY_S)
            self.status.state = "stopped"
            await self._beat_once()

    async def stop(self) -> None:
        """Ask it to finish what it has read, release its partitions and end."""
        self._stop.set()
        self._interrupt.set()
        self._resumed.set()

    def written(self) -> bool:
        """Say whether Redis has everything that was read."""
        return self._writer is not None and self._writer.written

    def pause(self) -> None:
        """Stop storing until `resume`; the partitions are released."""
        self._resumed.clear()
        self._interrupt.set()
        self.status.state = "paused"

    def resume(self) -> None:
        """Go on after `pause`."""
        self._resumed.set()

    async def _pause(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stop.wait(), seconds)

    @contextlib.asynccontextmanager
    async def _beside(self, *work: Coroutine[object, object, None]) -> AsyncIterator[None]:
        """Do other work for the length of a block."""
        tasks = [asyncio.create_task(job) for job in work]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _own_and_store(self) -> None:
        topic = KafkaLog(self._kafka_options(), self._topic)
        try:
            # Before any lease: who cannot read the broker asks no older release for its place.
            await topic.open()
            partitions = len(await topic.partitions())
            await self._own(topic, partitions)
        finally:
            await topic.close()

    async def _own(self, topic: KafkaLog, partitions: int) -> None:
        leases = Leases(self._dsn)
        owned = [self._ownership(leases, partition) for partition in self._partitions]
        self.status.state = "waiting for its partitions"
        try:
            leases_taken = await self._take(owned)
            if leases_taken is None:
                return
            epochs = {
                partition: lease.epoch
                for partition, lease in zip(self._partitions, leases_taken, strict=True)
            }
            keeping = [job for one in owned for job in (one.hold(), self._hand_over(one))]
            async with self._beside(*keeping):
                await self._store(topic, epochs, partitions=partitions)
        finally:
            for one in owned:
                await one.release()
            await leases.close()

    def _ownership(self, leases: Leases, partition: int) -> Ownership:
        streams = self._settings.streams
        return Ownership(
            leases,
            f"consumer/{self._topic}/{partition}",
            holder=self._holder,
            generation=self._settings.ray.generation,
            ttl_s=streams.lease_ttl_s,
            random=Random(),
        )

    async def _take(self, owned: Sequence[Ownership]) -> list[Lease] | None:
        """Take all leases; None if it was interrupted meanwhile."""
        taking = asyncio.ensure_future(asyncio.gather(*(one.take() for one in owned)))
        interrupted = asyncio.ensure_future(self._interrupt.wait())
        try:
            either: set[asyncio.Future[Any]] = {taking, interrupted}
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            return taking.result() if taking.done() else None
        finally:
            interrupted.cancel()
            taking.cancel()

    async def _hand_over(self, one: Ownership) -> None:
        """Interrupt the storing when the lease is lost, or wanted by a newer release."""
        events = [asyncio.create_task(event.wait()) for event in (one.lost, one.wanted)]
        try:
            await asyncio.wait(events, return_when=asyncio.FIRST_COMPLETED)
            self._interrupt.set()
        finally:
            for event in events:
                event.cancel()

    async def _store(self, topic: KafkaLog, epochs: Mapping[int, int], *, partitions: int) -> None:
        store = Store(self._dsn, self._spec, self._layout, topic=self._topic)
        try:
            await topic.start_at(await self._positions(store, topic, epochs))
            await self._consume(store, topic, epochs=epochs, partitions=partitions)
        finally:
            await store.close()

    async def _positions(
        self, store: Store[T], topic: KafkaLog, epochs: Mapping[int, int]
    ) -> dict[int, int]:
        """Claim the partitions and return where each goes on, in the log that is there now."""
        bounds = await topic.bounds(self._partitions)
        offsets: dict[int, int] = {}
        for partition in self._partitions:
            position = await store.claim(partition, epochs[partition])
            first, end = bounds[partition]
            offset = position.next_offset
            if offset is None:
                await store.rewind(partition, epochs[partition], first)
                offset = first
            elif not first <= offset <= end or (
                position.tail_crc is not None
                and offset > first
                and not await topic.tail_matches(partition, offset, position.tail_crc)
            ):
                await self._note_reset(partition, f"stored up to {offset}, log {first}..{end}")
                await store.rewind(partition, epochs[partition], first)
                offset = first
            offsets[partition] = offset
        return offsets

    async def _note_reset(self, partition: int, cause: str) -> None:
        log.warning("%s/%s: the broker's log was replaced: %s", self._topic, partition, cause)
        await write_reset(
            self._dsn, self._spec.name, partition=partition, cause=f"broker lost its log: {cause}"
        )

    async def _consume(
        self, store: Store[T], topic: KafkaLog, *, epochs: Mapping[int, int], partitions: int
    ) -> None:
        sequences = await store.sequences()
        streams = self._settings.streams
        cache = LatestCache(
            self._settings.redis_url(),
            self._spec,
            ttl_s=self._settings.feeds[self._spec.name].ttl_s,
            publishes_per_s=streams.publishes_per_s,
        )
        writer = CacheWriter(
            cache,
            rebuilder(self._dsn, self._spec, self._layout, clock=time.time),
            self.status,
            clock=time.time,
        )
        self._writer = writer
        newest: dict[tuple[int, int], int] = {}
        for shard, epoch in sequences:
            place = (partition_of(shard, partitions), shard)
            newest[place] = max(epoch, newest.get(place, -1))
        consumer: Consumer[T] = Consumer(
            topic,
            store,
            writer,
            layout=self._layout,
            rules=Rules(future_tolerance_ms=int(streams.future_tolerance_s * 1000)),
            epochs=epochs,
            sequences=sequences,
            newest=newest,
            batch_rows=streams.batch_rows,
            status=self.status,
        )
        self.status.state = "storing"
        self._topic_partitions = partitions
        try:
            async with self._beside(writer.run(), self._report_lag()):
                await consumer.run(self._interrupt)
                await writer.drained(streams.drain_s if self._stop.is_set() else 1.0)
        finally:
            with contextlib.suppress(CacheUnavailable):
                await cache.close()

    async def _report_lag(self) -> None:
        reporter = LagReporter(
            self._kafka_options(), self._topic, group=f"ray-pipeline-{self._spec.name}"
        )
        try:
            while True:
                await asyncio.sleep(REPORT_EVERY_S)
                await reporter.report(dict(self.status.offsets))
        finally:
            await reporter.close()

    def _kafka_options(self) -> Mapping[str, object]:
        return dict(client_options(self._settings.kafka, self._settings.bootstrap_servers()))

    async def _beat(self) -> None:
        while True:
            await self._beat_once()
            await asyncio.sleep(HEARTBEAT_S)

    async def _beat_once(self) -> None:
        status = self.status
        beats = [
            Heartbeat(
                partition, status.state, status.cause, status.lag.get(partition, 0),
                status.redis_state,
            )
            for partition in self._partitions
        ]  # fmt: skip
        with contextlib.suppress(DatabaseUnavailable):
            await write_heartbeats(self._dsn, self._topic, holder=self._holder, beats=beats)

    async def _look_for_losses(self) -> None:
        """Write down numbers that do not come; only while all that the broker has was read."""
        while True:
            await asyncio.sleep(LOSSES_EVERY_S)
            if (
                not self._topic_partitions
                or self.status.state != "storing"
                or any(self.status.lag.values())
            ):
                continue
            try:
                await self._write_losses()
            except DatabaseUnavailable as error:
                log.debug("losses wait: %s", error)

    async def _write_losses(self) -> None:
        numbers = await read_numbers(self._dsn, self._spec.name)
        holes = [
            hole
            for hole in missing(numbers.seen, published=numbers.published, lost=numbers.lost)
            if partition_of(hole.shard, self._topic_partitions) in self._partitions
        ]
        expired = self._watch.expired(holes, now_s=time.monotonic())
        if expired:
            await write_losses(
                self._dsn, self._spec.name, expired, cause="numbered, but the broker has it not"
            )


def build_consumer(
    settings: Settings, feed: str, *, partitions: Sequence[int]
) -> ConsumerService[Any]:
    """Return the consumer of some partitions of a feed."""
    spec = feed_named(feed)
    return ConsumerService(settings, spec, spec.layout, partitions=partitions)


class ConsumerActor:
    """Gives a consumer a process and a mailbox. It starts storing when it is made."""

    def __init__(self, settings: Settings, feed: str, partitions: Sequence[int]) -> None:
        self._feed = feed
        self._partitions = list(partitions)
        self._service = build_consumer(settings, feed, partitions=partitions)
        self._task = asyncio.get_running_loop().create_task(self._service.run())
        self._task.add_done_callback(leave)
        generation = settings.ray.generation
        self._reporting = asyncio.create_task(report(self._metrics, generation=generation))

    def __repr__(self) -> str:
        return f"Consumer({self._feed}/{','.join(map(str, self._partitions))})"

    async def status(self) -> dict[str, object]:
        """Return how it does."""
        status = self._service.status
        return {
            "feed": self._feed,
            "partitions": self._partitions,
            "pid": os.getpid(),
            "state": status.state,
            "cause": status.cause,
            "redis": status.redis_state,
            "stored": status.stored,
            "parked": status.parked,
            "redelivered": status.redelivered,
            "batches": status.batches,
            "lag": dict(status.lag),
        }

    def _metrics(self) -> Iterable[Sample]:
        status = self._service.status
        latencies_ms = list(status.latencies_ms)
        status.latencies_ms.clear()
        return consumer_metrics(
            self._feed,
            ",".join(map(str, self._partitions)),
            stored=status.stored,
            lag=status.lag,
            latencies_ms=latencies_ms,
        )

    async def stop(self, drain_s: float) -> bool:
        """Finish what was read and release the partitions; False if that took too long."""
        await self._service.stop()
        done, _ = await asyncio.wait({self._task}, timeout=drain_s)
        return bool(done)

    async def pause(self) -> None:
        """Stop storing until `resume`."""
        self._service.pause()

    async def resume(self) -> None:
        """Go on after `pause`."""
        self._service.resume()
