"""The offsets at which the topics begin and end in Kafka."""

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

from ray_pipeline.errors import BrokerUnavailable
from ray_pipeline.feeds.feed import Feed
from ray_pipeline.feeds.feed_registry import FEEDS
from ray_pipeline.settings import Settings
from ray_pipeline.storage.kafka.broker import KafkaBroker
from ray_pipeline.storage.kafka.client_options import client_options
from ray_pipeline.storage.kafka.client_start import FAILURES
from ray_pipeline.storage.kafka.topics import topic_name

TIMEOUT_S = 10.0
FIX = (
    "check PIPELINE_KAFKA__BOOTSTRAP_SERVERS and PIPELINE_KAFKA__SECURITY_PROTOCOL, and that the "
    "broker runs"
)


@dataclass(frozen=True, slots=True)
class Position:
    """The offsets that a partition holds: from `first` up to, not including, `end`."""

    first: int
    end: int


Positions = Mapping[tuple[str, int], Position]


async def read_positions(settings: Settings, feeds: Iterable[Feed]) -> Positions:
    """
    Return where each partition of the feeds' topics begins and ends; nothing for absent topics.

    Raises:
        BrokerUnavailable: If Kafka cannot be reached.
    """
    names = {topic_name(settings, spec) for spec in feeds}
    partitions = [
        TopicPartition(topic, partition)
        for topic, count in (await partition_counts(settings)).items()
        if topic in names
        for partition in range(count)
    ]
    options = client_options(settings.kafka, settings.bootstrap_servers())
    try:
        async with asyncio.timeout(TIMEOUT_S):
            return await _offsets(options, partitions)
    except FAILURES as error:
        raise await _explain(settings, error) from error


async def partition_counts(settings: Settings) -> dict[str, int]:
    """
    Return how many partitions each topic of the broker has. It creates no topic.

    Raises:
        BrokerUnavailable: If the broker cannot be reached, or refuses the credentials.
    """
    admin = AIOKafkaAdminClient(**client_options(settings.kafka, settings.bootstrap_servers()))
    try:
        async with asyncio.timeout(TIMEOUT_S):
            await admin.start()
            # Without names: a request for a topic by name can create it.
            topics = await admin.describe_topics()
    except FAILURES as error:
        raise await _explain(settings, error) from error
    finally:
        await admin.close()
    return {topic["topic"]: len(topic["partitions"]) for topic in topics}


async def _explain(settings: Settings, error: BaseException) -> BrokerUnavailable:
    """Return the cause: aiokafka reports wrong credentials and an outage alike."""
    broker = KafkaBroker(settings)
    try:
        await broker.partitions(topic_name(settings, FEEDS[0]))
    except BrokerUnavailable as cause:
        return BrokerUnavailable(cause.args[0], fix=cause.fix or FIX)
    finally:
        await broker.close()
    return BrokerUnavailable(f"Kafka did not answer: {error}", fix=FIX)


async def _offsets(options: Mapping[str, object], partitions: list[TopicPartition]) -> Positions:
    if not partitions:
        return {}
    consumer = AIOKafkaConsumer(**options, enable_auto_commit=False)
    await consumer.start()
    try:
        first = await consumer.beginning_offsets(partitions)
        end = await consumer.end_offsets(partitions)
    finally:
        await consumer.stop()
    return {(item.topic, item.partition): Position(first[item], end[item]) for item in partitions}
