"""Replay an archive through Kafka: the same records with the same numbers."""

import asyncio
import heapq
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from aiokafka import AIOKafkaProducer

from ray_pipeline.errors import BrokerUnavailable, PipelineError
from ray_pipeline.feeds.codec import UNDECODABLE, decode_shard_epoch
from ray_pipeline.feeds.feed import Feed, partition_of
from ray_pipeline.feeds.feed_registry import FEEDS
from ray_pipeline.settings import Settings
from ray_pipeline.storage.kafka.client_start import FAILURES
from ray_pipeline.storage.kafka.positions import partition_counts
from ray_pipeline.storage.kafka.replaying_producer import replay_partitions, replaying_producer
from ray_pipeline.storage.kafka.topics import topic_name
from ray_pipeline.storage.parquet import read_manifest, read_part
from ray_pipeline.storage.postgres.connection import Connection, session
from ray_pipeline.storage.postgres.stream_identity import check_topic_prefix
from ray_pipeline.stream.archive_layout import ArchivePart, in_order
from ray_pipeline.stream.batch import Message

CHUNK = 2_000
# A producer that starts later in this database must not reuse the numbers of replayed records.
RAISE_EPOCH = """
    INSERT INTO leases AS held (resource, epoch) VALUES (%s, %s)
    ON CONFLICT (resource) DO UPDATE SET epoch = excluded.epoch WHERE held.epoch < excluded.epoch
"""


@dataclass(frozen=True, slots=True)
class Selection:
    """What to replay: feeds, days (both included), and how fast (None: as fast as it goes)."""

    feed: str | None = None
    first_day: str = "0000-00-00"
    last_day: str = "9999-99-99"
    speed: float | None = None


@dataclass(slots=True)
class ReplayPacer:
    """Keeps the distances between records, divided by the speed."""

    speed: float | None
    clock: Callable[[], float] = time.monotonic
    _offset_s: float | None = field(default=None, init=False)

    def pause_s(self, timestamp_ms: int) -> float:
        """Return how long to wait before a record of this time may leave."""
        if self.speed is None:
            return 0.0
        at_s = timestamp_ms / 1000 / self.speed
        if self._offset_s is None:
            self._offset_s = self.clock() - at_s
        return max(0.0, at_s + self._offset_s - self.clock())


def feeds_in(directory: Path, selection: Selection) -> dict[Feed, list[ArchivePart]]:
    """
    Return the parts of an archive by feed.

    Raises:
        PipelineError: If the directory holds no archive of the selected feeds.
    """
    parts_by_feed = {
        spec: parts
        for spec in FEEDS
        if selection.feed in (None, spec.name) and (parts := read_manifest(directory / spec.name))
    }
    if not parts_by_feed:
        raise PipelineError(
            f"no archive of {selection.feed or 'any feed'} in {directory}",
            fix="name the folder that holds one folder per feed, each with its manifest.jsonl",
        )
    return parts_by_feed


def records_of(
    directory: Path, parts: Sequence[ArchivePart], selection: Selection
) -> Iterator[Message]:
    """Yield a feed's records, each partition in its order, the partitions by Kafka's time."""
    partitions = in_order(parts, first_day=selection.first_day, last_day=selection.last_day)
    streams = [
        (record for part in ordered for record in read_part(directory / part.path))
        for ordered in partitions.values()
    ]
    return heapq.merge(*streams, key=lambda record: record.timestamp_ms)


async def replay_archive(
    settings: Settings,
    directory: Path,
    selection: Selection,
) -> dict[str, int]:
    """
    Send an archive's records to their topics and return how many, by feed.

    Epochs and numbers stay, so a database that has the records stores none of them again, and an
    empty one gets all. Replay into an empty one before its producers start: records of an epoch
    older than one that a shard has shown are parked as stale.

    Raises:
        PipelineError: If the directory holds no archive of the selected feeds.
        BrokerUnavailable: If Kafka did not acknowledge; replay again, repeats are recognised.
        DatabaseUnavailable: If Postgres cannot be reached.
    """
    feeds = feeds_in(directory, selection)
    sent: dict[str, int] = {}
    async with session(settings.postgres_dsn(), name="replay") as connection:
        await check_topic_prefix(connection, settings.kafka.topic_prefix)
        try:
            counts = await partition_counts(settings)
            async with replaying_producer(settings) as producer:
                for spec, parts in feeds.items():
                    sender = Sender(settings, spec, producer, connection, counts=counts)
                    records = records_of(directory / spec.name, parts, selection)
                    async for count in sender.send_all(records, ReplayPacer(selection.speed)):
                        sent[spec.name] = count
        except FAILURES as error:
            raise BrokerUnavailable(
                f"Kafka did not take the records: {error}",
                fix="check PIPELINE_KAFKA__BOOTSTRAP_SERVERS and replay again",
            ) from error
    return sent


class Sender:
    """Sends one feed's records to its topic."""

    def __init__(
        self,
        settings: Settings,
        spec: Feed,
        producer: AIOKafkaProducer,
        connection: Connection,
        *,
        counts: Mapping[str, int],
    ) -> None:
        self._spec = spec
        self._topic = topic_name(settings, spec)
        self._producer = producer
        self._connection = connection
        self._epochs: dict[int, int] = {}
        self._partitions = replay_partitions(settings, spec, counts)

    async def send_all(self, records: Iterator[Message], pacer: ReplayPacer) -> AsyncIterator[int]:
        """Send records; yield how many are acknowledged so far, chunk by chunk."""
        waiting: list[asyncio.Future[object]] = []
        count = 0
        for record in records:
            if (pause_s := pacer.pause_s(record.timestamp_ms)) > 0:
                await asyncio.sleep(pause_s)
            waiting.append(await self._send(record))
            count += 1
            if len(waiting) == CHUNK:
                await asyncio.gather(*waiting)
                waiting.clear()
                yield count
        await asyncio.gather(*waiting)
        yield count

    async def _send(self, record: Message) -> asyncio.Future[object]:
        future: asyncio.Future[object] = await self._producer.send(
            self._topic,
            value=record.value,
            key=record.key,
            partition=await self._partition(record),
            timestamp_ms=record.timestamp_ms,
        )
        return future

    async def _partition(self, record: Message) -> int:
        try:
            owner = decode_shard_epoch(record.value or b"")
        except UNDECODABLE:
            return record.partition % self._partitions
        if owner.epoch > self._epochs.get(owner.pod_index, 0):
            self._epochs[owner.pod_index] = owner.epoch
            resource = f"producer/{self._spec.name}/{owner.pod_index}"
            await self._connection.execute(RAISE_EPOCH, (resource, owner.epoch))
        return partition_of(owner.pod_index, self._partitions)
