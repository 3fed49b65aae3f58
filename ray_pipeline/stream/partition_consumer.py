"""
A consumer of partitions: take their leases, resume at the stored offsets, store until interrupted.

Each tenure of the leases opens its own connections and closes them at its end, so an outage of the
broker, of the database or of the ownership is handled alike: the tenure ends, the state shows the
cause, and the next tenure begins after a pause.
"""

import asyncio
import contextlib
import logging
from collections.abc import Iterable, Mapping, Sequence
from random import Random
from typing import Generic, TypeVar

from ray_pipeline.errors import (
    BrokerUnavailable,
    CacheUnavailable,
    DatabaseUnavailable,
    OwnershipLost,
)
from ray_pipeline.feeds.feed import partition_of
from ray_pipeline.feeds.records import Record
from ray_pipeline.lease import LeaseStore, Ownership
from ray_pipeline.stream.batch import ShardEpoch
from ray_pipeline.stream.batch_builder import BatchBuilder
from ray_pipeline.stream.cache_writer import CacheWriter
from ray_pipeline.stream.consume import (
    STORING,
    WAITING_FOR_BROKER,
    WAITING_FOR_POSTGRES,
    Consumer,
)
from ray_pipeline.stream.consumer_assignment import ConsumerAssignment
from ray_pipeline.stream.consumer_ports import (
    ConsumerPorts,
    ConsumerStatus,
    HistoryStore,
    TopicReader,
)
from ray_pipeline.stream.consumer_reports import ConsumerReports
from ray_pipeline.stream.partition_resume import resume_offset
from ray_pipeline.stream.seen_trades import SeenTrades
from ray_pipeline.stream.sequence import Arrivals, RangeSet
from ray_pipeline.tasks import background, first_cause, first_of

log = logging.getLogger(__name__)

T = TypeVar("T", bound=Record)

REPORT_EVERY_S = 5.0
RETRY_S = 1.0
HANDOVER_DRAIN_S = 1.0
PARTITIONS_EVERY_S = 10.0


class PartitionConsumer(Generic[T]):
    """Stores partitions of a feed while it owns them, and waits for them while it does not."""

    def __init__(self, assignment: ConsumerAssignment, ports: ConsumerPorts[T]) -> None:
        self._assignment = assignment
        self._ports: ConsumerPorts[T] = ports
        self._stop = asyncio.Event()
        self._resumed = asyncio.Event()
        self._resumed.set()
        self._interrupt = asyncio.Event()  # ends the current tenure
        self._writer: CacheWriter | None = None
        self._owned: Mapping[int, Ownership] = {}
        self.status = ConsumerStatus()
        self._reports = ConsumerReports(
            ports.records,
            self.status,
            situation=self.situation,
            partitions=assignment.partitions,
            configured=assignment.configured,
            monotonic_s=ports.monotonic_s,
            sleep=ports.sleep,
        )

    async def run(self) -> None:
        """
        Own and store until `stop`; every outage and every loss of ownership is waited out.

        Raises:
            ExceptionGroup: If one of its tasks failed unexpectedly. All of them have ended then,
                and the last heartbeat has the state "failed" and the error.
        """
        try:
            async with background(self._reports.send_beats(), self._reports.write_missing_ranges()):
                await self._store_tenures()
            self.status.enter("stopped")
            await self._reports.send_beat()
        except Exception as error:
            cause = first_cause(error)
            self.status.enter("failed", f"{type(cause).__name__}: {cause}; the actor restarts")
            with contextlib.suppress(Exception):  # the heartbeat may be the task that failed
                await self._reports.send_beat()
            raise
        finally:
            await self._ports.records.close()

    async def _store_tenures(self) -> None:
        while not self._stop.is_set():
            if not self._resumed.is_set():
                self.status.enter("paused")
                await self._resumed.wait()
                continue
            self._interrupt.clear()
            try:
                await self._tenure()
            except* (BrokerUnavailable, DatabaseUnavailable, OwnershipLost) as group:
                cause = first_cause(group)
                self.status.enter("waiting", str(cause))
                log.warning("%s: %s", self._assignment.topic, cause)
                await first_of(self._ports.sleep(RETRY_S), self._stop.wait())

    def stop(self) -> None:
        """Finish the batches that were read, release the partitions, and end `run`."""
        self._stop.set()
        self._interrupt.set()
        self._resumed.set()

    def pause(self) -> None:
        """Stop storing and release the partitions until `resume`."""
        self._resumed.clear()
        self._interrupt.set()

    def resume(self) -> None:
        """Continue after `pause`."""
        self._resumed.set()

    def situation(self) -> tuple[str, str]:
        """
        Return the state and its cause.

        A consumer stores only while it holds its leases. If they are not renewed, it waits for
        Postgres, also while its topic is quiet and no batch fails. If the broker does not answer,
        the client reports no error and the end of a partition is unknown.
        """
        status, owned = self.status, self._owned
        lease_cause = next((item.cause for item in owned.values() if item.cause), "")
        if status.state != STORING:
            return status.state, status.cause or lease_cause
        if not all(ownership.valid() for ownership in owned.values()):
            return WAITING_FOR_POSTGRES, lease_cause or "its leases are not renewed"
        if silent := [number for number in owned if number not in status.lag]:
            numbers = ", ".join(map(str, silent))
            return WAITING_FOR_BROKER, f"Kafka does not answer for partition {numbers}"
        return STORING, status.cause or lease_cause

    def written(self) -> bool:
        """Return whether the cache has everything that was read."""
        return self._writer is not None and self._writer.written

    # A tenure

    async def _tenure(self) -> None:
        reader = self._ports.reader()
        try:
            # Before any lease: a consumer that cannot read the broker must not request a handover.
            await reader.open()
            present = await reader.partitions()
            self._reports.present = present
            partitions = self._assignment.in_topic(present)
            if not partitions:
                raise BrokerUnavailable(self._assignment.lack(present))
            async with background(self._interrupt_at_new_partitions(reader, present)):
                await self._own(reader, partitions)
        finally:
            await reader.close()

    async def _interrupt_at_new_partitions(
        self, reader: TopicReader, present: Sequence[int]
    ) -> None:
        """End the tenure if the topic's partitions change: the next tenure begins with the new."""
        while True:
            await self._ports.sleep(PARTITIONS_EVERY_S)
            # Without an answer there is nothing to compare; the reader meets the outage itself.
            with contextlib.suppress(BrokerUnavailable):
                if await reader.partitions() != present:
                    self._interrupt.set()
                    return

    async def _own(self, reader: TopicReader, partitions: Sequence[int]) -> None:
        leases = self._ports.leases()
        owned = {number: self._make_ownership(leases, number) for number in partitions}
        self._owned = owned
        self.status.enter("waiting for its partitions")
        try:
            await first_of(_take_all(owned.values()), self._interrupt.wait())
            epochs = {
                number: ownership.lease.epoch
                for number, ownership in owned.items()
                if ownership.lease
            }
            if len(epochs) < len(owned):
                return  # interrupted before all leases were taken
            # A requested lease is still renewed: it protects the batches that are being finished.
            renewals = [ownership.hold() for ownership in owned.values()]
            handovers = [self._interrupt_at_handover(ownership) for ownership in owned.values()]
            async with background(*renewals, *handovers):
                await self._store(reader, epochs)
        finally:
            self._owned = {}
            for ownership in owned.values():
                await ownership.release()
            await leases.close()

    def _make_ownership(self, leases: LeaseStore, partition: int) -> Ownership:
        assignment = self._assignment
        return Ownership(
            leases,
            f"consumer/{assignment.topic}/{partition}",
            holder=assignment.holder,
            generation=assignment.generation,
            ttl_s=assignment.lease_ttl_s,
            random=Random(),
        )

    async def _interrupt_at_handover(self, ownership: Ownership) -> None:
        """End the tenure if a lease is lost, or if a newer generation requests it."""
        await first_of(ownership.lost.wait(), ownership.requested.wait())
        self._interrupt.set()

    async def _store(self, reader: TopicReader, epochs: Mapping[int, int]) -> None:
        store = self._ports.store()
        try:
            bounds = await reader.bounds(list(epochs))
            offsets = {
                partition: await resume_offset(
                    store,
                    reader,
                    self._ports.records,
                    name=f"{self._assignment.topic}/{partition}",
                    partition=partition,
                    epoch=epoch,
                    bounds=bounds[partition],
                )
                for partition, epoch in epochs.items()
            }
            await reader.start_at(offsets)
            await self._consume(store, reader, epochs)
        finally:
            await store.close()

    async def _consume(
        self, store: HistoryStore[T], reader: TopicReader, epochs: Mapping[int, int]
    ) -> None:
        assignment, ports = self._assignment, self._ports
        builder = await self._builder(store)
        cache = ports.cache()
        writer = CacheWriter(cache, ports.rebuild, self.status, clock=ports.clock)
        consumer: Consumer[T] = Consumer(
            reader,
            store,
            writer,
            layout=ports.layout,
            builder=builder,
            epochs=epochs,
            batch_rows=assignment.batch_rows,
            status=self.status,
            clock=ports.clock,
        )
        self._writer = writer
        self.status.begin()
        try:
            async with background(writer.run(), self._report_offsets()):
                await consumer.run(self._interrupt)
                stopping = self._stop.is_set()
                await writer.drained(assignment.drain_s if stopping else HANDOVER_DRAIN_S)
        finally:
            with contextlib.suppress(CacheUnavailable):
                await cache.close()

    async def _builder(self, store: HistoryStore[T]) -> BatchBuilder[T]:
        layout = self._ports.layout
        sequences = await store.sequences()
        seen = SeenTrades(layout, await store.trades()) if layout.trade_columns else None
        return BatchBuilder(
            layout,
            future_tolerance_ms=self._assignment.future_tolerance_ms,
            arrivals={key: Arrivals(ranges) for key, ranges in sequences.items()},
            newest=_newest_epochs(sequences, self._assignment.configured),
            seen=seen,
        )

    async def _report_offsets(self) -> None:
        reporter = self._ports.reporter()
        try:
            while True:
                await self._ports.sleep(REPORT_EVERY_S)
                await reporter.report(dict(self.status.offsets))
        finally:
            await reporter.close()


async def _take_all(owned: Iterable[Ownership]) -> None:
    await asyncio.gather(*(ownership.take() for ownership in owned))


def _newest_epochs(
    sequences: Mapping[ShardEpoch, RangeSet], partitions: int
) -> dict[tuple[int, int], int]:
    """Return the newest epoch that is stored of each shard, by (partition, shard)."""
    newest: dict[tuple[int, int], int] = {}
    for shard, epoch in sequences:
        key = (partition_of(shard, partitions), shard)
        newest[key] = max(epoch, newest.get(key, -1))
    return newest
