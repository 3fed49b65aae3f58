"""The archive beside a real broker: nothing lost in a crash, all brought back by a replay."""

import asyncio
import contextlib
import itertools
import time
from collections.abc import AsyncIterator, Callable
from decimal import Decimal
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions

from ray_pipeline.errors import PipelineError
from ray_pipeline.feeds.codec import encode
from ray_pipeline.feeds.feed import partition_of
from ray_pipeline.feeds.feed_registry import feed_named
from ray_pipeline.feeds.records import Trade
from ray_pipeline.services.partition_consumer_wiring import build_consumer
from ray_pipeline.settings import (
    ArchiveSettings,
    KafkaSettings,
    PostgresSettings,
    RedisSettings,
    Settings,
    load,
)
from ray_pipeline.storage.archive_replay import Selection, replay_archive
from ray_pipeline.storage.archive_writer import Archiver
from ray_pipeline.storage.kafka.topics import ensure_topics
from ray_pipeline.storage.migrations import migrate
from ray_pipeline.storage.parquet import Archive, read_manifest, read_part
from ray_pipeline.storage.postgres.connection import session
from ray_pipeline.stream.batch import Message
from tests.streams import producing
from tests.support import eventually, scalar

SPEC = feed_named("sp500")
NOW_MS = 1_790_000_000_000
ROWS = "SELECT count(*) FROM sp500_websocket_trades"
REDELIVERED = "SELECT coalesce(sum(redelivered), 0)::int FROM stream_offsets"


@pytest.fixture
async def settings(postgres_dsn, redis_url, tansu_server, topic_prefix) -> Settings:
    found = Settings(
        postgres=PostgresSettings(dsn=postgres_dsn),
        redis=RedisSettings(url=redis_url),
        kafka=KafkaSettings(
            bootstrap_servers=tansu_server.bootstrap_servers,
            topic_prefix=topic_prefix,
            idempotence=False,
            replication_factor=1,
        ),
        archive=ArchiveSettings(rows_per_file=20, seconds_per_file=600),
    )
    await ensure_topics(found)
    return found


async def publish(settings: Settings, first: int, last: int, *, epoch: int = 7) -> None:
    """Publish trades of shards 0 to 2, with numbers from `first` to `last` each."""
    producer = AIOKafkaProducer(bootstrap_servers=settings.bootstrap_servers(), acks="all")
    await producer.start()
    try:
        for seq in range(first, last + 1):
            for shard in range(3):
                await producer.send_and_wait(
                    settings.kafka.topic_prefix + SPEC.topic,
                    value=encode(trade(shard, epoch, seq)),
                    key=b"AAPL",
                    partition=partition_of(shard, 3),
                    timestamp_ms=NOW_MS + seq,
                )
    finally:
        await producer.stop()


def trade(shard: int, epoch: int, seq: int) -> Trade:
    return Trade(
        symbol="AAPL",
        price=Decimal("129.575"),
        volume=None,
        timestamp_ms=NOW_MS + seq,
        epoch=epoch,
        seq=seq,
        pod_index=shard,
    )


def archived(directory: Path) -> list[Message]:
    folder = directory / SPEC.name
    return [record for part in read_manifest(folder) for record in read_part(folder / part.path)]


@contextlib.asynccontextmanager
async def archiving(
    settings: Settings, directory: Path, *, clock: Callable[[], float] = time.monotonic
) -> AsyncIterator[Archiver]:
    """Run an archiver for the length of a block, then stop it as one should."""
    stop = asyncio.Event()
    archiver = Archiver(settings, SPEC, directory=directory, clock=clock)
    task = asyncio.create_task(archiver.run(stop))
    try:
        yield archiver
    finally:
        stop.set()
        await task


@contextlib.asynccontextmanager
async def consuming(settings: Settings) -> AsyncIterator[None]:
    service = build_consumer(settings, "sp500", partitions=[0, 1, 2])
    task = asyncio.create_task(service.run())
    try:
        yield
    finally:
        service.stop()
        await task


async def count(dsn: str, query: str) -> int:
    async with session(dsn, name="test") as connection:
        found = await scalar(connection, query)  # type: ignore[arg-type]
    assert isinstance(found, int)
    return found


async def test_a_stopped_archiver_has_everything_the_topic_held(settings, tmp_path):
    await publish(settings, 1, 30)

    async with archiving(settings, tmp_path):
        pass

    records = archived(tmp_path)
    assert len(records) == 90
    assert records[0].timestamp_ms == NOW_MS + 1


async def test_a_cancelled_flush_lists_each_file_once(tmp_path):
    """A thread that writes goes on when its task is cancelled; its file counts all the same."""
    archive = Archive(tmp_path, "feed", rows_per_file=1_000, seconds_per_file=60.0)
    archive.open()
    archive.add("topic", [Message(0, number, NOW_MS, b"k", b"v") for number in range(50)], now_s=0)
    flushing = asyncio.create_task(archive.flush())
    await asyncio.sleep(0)  # it has begun, and waits for the thread

    flushing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await flushing
    await archive.flush()
    archive.close()

    (part,) = read_manifest(tmp_path / "feed")
    assert part.rows == 50


async def test_an_archiver_that_is_killed_loses_nothing_and_doubles_nothing(settings, tmp_path):
    """What was read and not yet written comes again from Kafka."""
    await publish(settings, 1, 30)
    archiver = Archiver(settings, SPEC, directory=tmp_path)
    running = asyncio.create_task(archiver.run(asyncio.Event()))
    await eventually(lambda: len(archived(tmp_path)) >= 20, what="a first file")
    await publish(settings, 31, 33)
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running

    async with archiving(settings, tmp_path):
        pass

    identities = [(record.partition, record.offset) for record in archived(tmp_path)]
    assert len(identities) == len(set(identities)) == 99


async def test_a_broker_that_forgot_everything_begins_a_new_log(settings, own_tansu, tmp_path):
    """Offsets begin at 0 again with other records: both logs stay, under names of their own."""
    own = settings.model_copy(
        update={
            "kafka": settings.kafka.model_copy(
                update={"bootstrap_servers": own_tansu.bootstrap_servers}
            )
        }
    )
    await ensure_topics(own)
    await publish(own, 1, 30)
    async with archiving(own, tmp_path):
        pass
    own_tansu.stop()
    own_tansu.start()
    await ensure_topics(own)
    await publish(own, 31, 65)

    async with archiving(own, tmp_path):
        pass

    assert len(archived(tmp_path)) == 30 * 3 + 35 * 3


async def test_a_replay_into_the_same_database_changes_nothing(settings, postgres_dsn, tmp_path):
    await publish(settings, 1, 30)
    async with archiving(settings, tmp_path), consuming(settings):
        await eventually(lambda: full(postgres_dsn, ROWS, 90), what="90 rows")

    await replay_archive(settings, tmp_path, Selection())

    async with consuming(settings):
        await eventually(lambda: full(postgres_dsn, REDELIVERED, 90), what="90 repeats")
    assert await count(postgres_dsn, ROWS) == 90


async def test_a_replay_into_an_empty_database_restores_everything(settings, empty_dsn, tmp_path):
    await publish(settings, 1, 30, epoch=7)
    async with archiving(settings, tmp_path):
        pass
    await migrate(empty_dsn)
    fresh = settings.model_copy(
        update={
            "postgres": PostgresSettings(dsn=empty_dsn),
            "kafka": settings.kafka.model_copy(
                update={"topic_prefix": settings.kafka.topic_prefix + "fresh-"}
            ),
        }
    )
    await ensure_topics(fresh)

    async with consuming(fresh):
        assert await replay_archive(fresh, tmp_path, Selection()) == {"sp500": 90}
        await eventually(lambda: full(empty_dsn, ROWS, 90), what="90 rows")

    assert await count(empty_dsn, "SELECT count(*) FROM gaps") == 0
    # The next producer of a shard gets an epoch that no replayed record has.
    epochs = "SELECT min(epoch)::int FROM leases WHERE resource LIKE 'producer/sp500/%%'"
    assert await count(empty_dsn, epochs) == 7


async def full(dsn: str, query: str, wanted: int) -> bool:
    return await count(dsn, query) == wanted


async def test_a_folder_without_an_archive_is_said_to_be_one(settings, tmp_path):
    with pytest.raises(PipelineError, match="no archive of any feed"):
        await replay_archive(settings, tmp_path, Selection())


async def test_partitions_that_appear_while_it_archives_are_archived(
    kafka_bootstrap, topic_prefix, tmp_path
):
    """An operator grows the topic, and another program uses the new partitions."""
    settings = load(
        kafka={"bootstrap_servers": kafka_bootstrap, "topic_prefix": topic_prefix},
        feeds={SPEC.name: {"partitions": 1}},
    )
    await ensure_topics(settings)
    topic = topic_prefix + SPEC.topic
    # Each reading of the clock is ten seconds later, so that it looks for partitions at each poll.
    seconds = itertools.count(0, 10.0)
    async with archiving(settings, tmp_path, clock=lambda: next(seconds)) as archiver:
        async with producing(settings) as producer:
            await producer.send_and_wait(topic, encode(trade(0, 1, 1)), partition=0)
        await eventually(
            lambda: archiver.archive.position(0).next_offset == 1, what="the first partition"
        )
        admin = AIOKafkaAdminClient(bootstrap_servers=kafka_bootstrap)
        await admin.start()
        await admin.create_partitions({topic: NewPartitions(2)})
        await admin.close()
        async with producing(settings) as producer:
            await producer.send_and_wait(topic, encode(trade(0, 1, 2)), partition=1)
        await eventually(
            lambda: archiver.archive.position(1).next_offset == 1, what="the second partition"
        )

    assert {record.partition for record in archived(tmp_path)} == {0, 1}
