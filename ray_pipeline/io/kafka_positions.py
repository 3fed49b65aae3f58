"""Where the topics begin and end in Kafka."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from ray_pipeline.errors import BrokerUnavailable
from ray_pipeline.feed import FeedSpec
from ray_pipeline.io.kafka import client_options
from ray_pipeline.settings import Settings


@dataclass(frozen=True, slots=True)
class Position:
    """The offsets that a partition holds: from `first` up to, not including, `end`."""

    first: int
    end: int


Positions = Mapping[tuple[str, int], Position]


def topic_name(settings: Settings, spec: FeedSpec) -> str:
    """Return a feed's topic as the broker knows it."""
    return settings.kafka.topic_prefix + spec.topic


async def read_positions(settings: Settings, feeds: Iterable[FeedSpec]) -> Positions:
    """
    Return where each partition of the feeds' topics begins and ends; nothing for absent topics.

    Raises:
        BrokerUnavailable: If Kafka cannot be reached.
    """
    names = {topic_name(settings, spec) for spec in feeds}
    options = client_options(settings.kafka, settings.bootstrap_servers())
    try:
        partitions = [
            TopicPartition(topic, partition)
            for topic, count in (await _partition_counts(options)).items()
            if topic in names
            for partition in range(count)
        ]
        return await _offsets(options, partitions)
    except (KafkaError, OSError) as error:
        raise BrokerUnavailable(
            f"Kafka cannot be reached: {error}",
            fix="check PIPELINE_KAFKA__BOOTSTRAP_SERVERS and that the broker runs; "
            "`ray-pipeline doctor` tells more",
        ) from error


async def partition_counts(settings: Settings) -> dict[str, int]:
    """
    Return how many partitions each topic of the broker has. It makes no topic.

    Raises:
        KafkaError: If the broker cannot be reached, or refuses the credentials.
    """
    return await _partition_counts(client_options(settings.kafka, settings.bootstrap_servers()))


async def _partition_counts(options: Mapping[str, object]) -> dict[str, int]:
    admin = AIOKafkaAdminClient(**options)
    await admin.start()
    try:
        # Without names: to ask for a topic by name can make it.
        topics = await admin.describe_topics()
    finally:
        await admin.close()
    return {topic["topic"]: len(topic["partitions"]) for topic in topics}


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
    return {
        (place.topic, place.partition): Position(first[place], end[place]) for place in partitions
    }
