"""The outbox against Apache Kafka: outages, frozen brokers, records that are too large."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition

from ray_pipeline.errors import BrokerUnavailable, ConfigurationError
from ray_pipeline.feeds.codec import Decoder
from ray_pipeline.feeds.feed import partition_of
from ray_pipeline.feeds.feed_registry import FEEDS
from ray_pipeline.feeds.records import Notice, Reject, Trade
from ray_pipeline.local.kafka.kraft import KafkaServer
from ray_pipeline.settings import Settings, load
from ray_pipeline.storage.kafka.broker import KafkaBroker
from ray_pipeline.storage.kafka.client_options import client_options
from ray_pipeline.storage.kafka.topics import ensure_topics
from ray_pipeline.storage.spool import Spool, open_spool
from ray_pipeline.stream.outbox import Publisher
from tests.secured_kafka import KafkaSecurity, SecuredKafka
from tests.support import eventually

SHARD = 4
PASSWORD = "correct-horse"
DECODER: Decoder[Trade] = Decoder(Trade)


@dataclass(frozen=True, slots=True)
class RealClock:
    """This machine's time."""

    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    monotonic_s: Callable[[], float] = time.monotonic


def settings_of(
    bootstrap: str, prefix: str = "", *, partitions: int = 3, **kafka: object
) -> Settings:
    return load(
        kafka={"bootstrap_servers": bootstrap, "topic_prefix": prefix, **kafka},
        feeds={"sp500": {"partitions": partitions}},
    )


def topic_of(settings: Settings) -> str:
    return settings.kafka.topic_prefix + FEEDS[0].topic


@asynccontextmanager
async def publishing(settings: Settings, spool: Spool, *, epoch: int) -> AsyncIterator[Publisher]:
    broker = KafkaBroker(settings)
    publisher = Publisher(
        broker,
        spool,
        topic=topic_of(settings),
        partition=partition_of(SHARD, settings.feeds["sp500"].partitions),
        shard=SHARD,
        epoch=epoch,
        may_send=lambda: True,
        clock=RealClock(),
    )
    stop = asyncio.Event()
    task = asyncio.create_task(publisher.run(stop))
    try:
        yield publisher
    finally:
        stop.set()
        await task
        await broker.close()


def put(publisher: Publisher, count: int = 1, *, symbol: str = "AAPL") -> None:
    for _ in range(count):
        trade = Trade(
            symbol, Decimal("129.575"), None, 1_700_000_000_000,
            publisher.epoch, publisher.next_seq(), SHARD,
        )  # fmt: skip
        publisher.put("AAPL", trade, received_at=datetime.now(UTC))


async def stored(settings: Settings) -> list[Trade | Notice]:
    """Return what the shard's partition holds, from its beginning to its end."""
    partition = partition_of(SHARD, settings.feeds["sp500"].partitions)
    place = TopicPartition(topic_of(settings), partition)
    options = client_options(settings.kafka, settings.bootstrap_servers())
    consumer = AIOKafkaConsumer(**options, auto_offset_reset="earliest")
    await consumer.start()
    try:
        consumer.assign([place])
        end = (await consumer.end_offsets([place]))[place]
        await consumer.seek_to_beginning(place)
        found: list[Trade | Notice] = []
        async with asyncio.timeout(30):
            while await consumer.position(place) < end:
                batch = await consumer.getmany(timeout_ms=200)
                found += [DECODER.decode(one.value) for one in batch.get(place, [])]
        return found
    finally:
        await consumer.stop()


async def firsts(settings: Settings) -> list[tuple[int, int]]:
    return list(dict.fromkeys((one.epoch, one.seq) for one in await stored(settings)))


def numbers(epoch: int, last: int) -> list[tuple[int, int]]:
    return [(epoch, seq) for seq in range(1, last + 1)]


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return open_spool(tmp_path, "sp500", shard=SHARD, limit_bytes=2**28)


async def test_topics_are_made_once(kafka_server: KafkaServer, topic_prefix: str) -> None:
    settings = settings_of(kafka_server.bootstrap_servers, topic_prefix, partitions=5)
    await asyncio.gather(ensure_topics(settings), ensure_topics(settings))
    await ensure_topics(settings)
    broker = KafkaBroker(settings)
    assert await broker.partitions(topic_of(settings)) == 5
    await broker.close()


async def test_all_arrives_in_the_shards_partition(
    kafka_server: KafkaServer, topic_prefix: str, spool: Spool
) -> None:
    settings = settings_of(kafka_server.bootstrap_servers, topic_prefix)
    await ensure_topics(settings)
    async with publishing(settings, spool, epoch=1) as publisher:
        put(publisher, 20_000)
        assert await publisher.drain(30)
    assert [(one.epoch, one.seq) for one in await stored(settings)] == numbers(1, 20_000)


async def test_a_record_larger_than_kafka_takes_becomes_a_reject(
    kafka_server: KafkaServer, topic_prefix: str, spool: Spool
) -> None:
    settings = settings_of(kafka_server.bootstrap_servers, topic_prefix)
    await ensure_topics(settings)
    async with publishing(settings, spool, epoch=1) as publisher:
        put(publisher, 3)
        put(publisher, symbol="X" * 2**20)
        put(publisher, symbol="Y" * (2**20 - 300))  # our limit allows it, so it may be sent
        put(publisher, 3)
        assert await publisher.drain(30)
    found = await stored(settings)
    assert await firsts(settings) == numbers(1, 8)
    rejects = [one for one in found if isinstance(one, Reject)]
    assert [(one.seq, one.reason) for one in rejects] == [(4, "too_large")]


async def test_a_killed_broker_loses_nothing(
    own_kafka: KafkaServer, spool: Spool, caplog: pytest.LogCaptureFixture
) -> None:
    """And a producer that was replaced leaves no error of a callback in the log."""
    settings = settings_of(own_kafka.bootstrap_servers)
    await ensure_topics(settings)
    async with publishing(settings, spool, epoch=1) as publisher:
        put(publisher, 1_000)
        assert await publisher.drain(30)
        put(publisher, 5_000)
        own_kafka.kill()
        put(publisher, 1_000)
        await eventually(lambda: publisher.status().spooled > 0)
        put(publisher, 1_000)
        await eventually(lambda: publisher.status().cause)
        await asyncio.to_thread(own_kafka.start)
        assert await publisher.drain(60)
        put(publisher, 1_000)
        assert await publisher.drain(30)
        assert (publisher.status().published, publisher.status().spooled) == (9_000, 0)
    assert await firsts(settings) == numbers(1, 9_000)
    assert not [one.getMessage() for one in caplog.records if one.name == "asyncio"]


async def test_a_frozen_broker_loses_nothing(own_kafka: KafkaServer, spool: Spool) -> None:
    settings = settings_of(own_kafka.bootstrap_servers)
    await ensure_topics(settings)
    async with publishing(settings, spool, epoch=1) as publisher:
        put(publisher, 100)
        assert await publisher.drain(30)
        own_kafka.pause()
        put(publisher, 100)
        # Long enough for the send to be given up, so that the round goes out a second time.
        await eventually(lambda: "TimeoutError" in publisher.status().cause, timeout_s=30)
        assert publisher.status().spooled == 100
        own_kafka.resume()
        assert await publisher.drain(60)
    assert await firsts(settings) == numbers(1, 200)


async def test_the_next_epoch_sends_what_the_last_one_left(
    own_kafka: KafkaServer, spool: Spool
) -> None:
    settings = settings_of(own_kafka.bootstrap_servers)
    await ensure_topics(settings)
    async with publishing(settings, spool, epoch=1) as publisher:
        put(publisher, 10)
        assert await publisher.drain(30)
        own_kafka.kill()
        put(publisher, 10)
    assert len(spool) == 10
    await asyncio.to_thread(own_kafka.start)
    async with publishing(settings, spool, epoch=2) as publisher:
        put(publisher, 10)
        assert await publisher.drain(30)
    assert await firsts(settings) == [*numbers(1, 20), *numbers(2, 10)]


async def test_no_broker_is_unavailable_and_says_where() -> None:
    settings = settings_of("127.0.0.1:1")
    with pytest.raises(BrokerUnavailable, match=r"127\.0\.0\.1:1 cannot be reached"):
        await ensure_topics(settings)
    broker = KafkaBroker(settings)
    with pytest.raises(BrokerUnavailable, match="cannot be reached"):
        await broker.send("topic", [(0, b"key", b"value")])
    await broker.close()


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-512"])
async def test_credentials(servers: Callable[[str], Path], mechanism: str) -> None:
    server = SecuredKafka(servers("kafka"), KafkaSecurity(users={"ann": PASSWORD}))
    await asyncio.to_thread(server.start)
    try:
        where = server.listener("SASL_PLAINTEXT")
        sasl = {"security_protocol": "SASL_PLAINTEXT", "sasl_mechanism": mechanism}
        right = settings_of(where, **sasl, sasl_username="ann", sasl_password=PASSWORD)
        await ensure_topics(right)
        broker = KafkaBroker(right)
        await broker.send(topic_of(right), [(0, b"key", b"value")])
        await broker.close()
        wrong = settings_of(where, **sasl, sasl_username="ann", sasl_password="battery-staple")
        with pytest.raises(ConfigurationError, match="refuses the connection") as caught:
            await ensure_topics(wrong)
        assert "battery-staple" not in str(caught.value)
        broker = KafkaBroker(wrong)
        with pytest.raises(BrokerUnavailable, match="refuses the connection"):
            await broker.send(topic_of(wrong), [(0, b"key", b"value")])
        await broker.close()
    finally:
        server.stop()


def test_a_missing_password_is_a_setting() -> None:
    settings = settings_of("127.0.0.1:1", security_protocol="SASL_SSL", sasl_username="user")
    with pytest.raises(ConfigurationError, match="needs a user and a password"):
        client_options(settings.kafka, settings.bootstrap_servers())
