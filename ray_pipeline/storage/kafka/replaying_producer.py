"""A plain producer for the commands that replay records, and the partitions it may use."""

import contextlib
from collections.abc import AsyncIterator, Mapping

from aiokafka import AIOKafkaProducer

from ray_pipeline.errors import BrokerUnavailable, ConfigurationError
from ray_pipeline.feeds.feed import Feed
from ray_pipeline.observe.topic_partitions import shortage
from ray_pipeline.settings import Settings
from ray_pipeline.storage.kafka.client_options import client_options
from ray_pipeline.storage.kafka.topics import topic_name


@contextlib.asynccontextmanager
async def replaying_producer(settings: Settings) -> AsyncIterator[AIOKafkaProducer]:
    """Open a plain producer for a command that replays records; raises one of `FAILURES`."""
    options = client_options(settings.kafka, settings.bootstrap_servers())
    producer = AIOKafkaProducer(**options, acks="all")
    await producer.start()
    try:
        yield producer
    finally:
        await producer.stop()


def replay_partitions(settings: Settings, spec: Feed, counts: Mapping[str, int]) -> int:
    """
    Return the number of partitions over which the feed's shards are spread.

    Args:
        settings: They name the number. A topic with more partitions does not move a shard.
        spec: The feed.
        counts: The number of partitions of each topic of the broker.

    Raises:
        ConfigurationError: If the feed is disabled: no consumer would store the records.
        BrokerUnavailable: If the topic has fewer partitions: records could not be sent.
    """
    if not settings.feeds[spec.name].enabled:
        raise ConfigurationError(
            f"{spec.name} is disabled by setting",
            fix=f"remove PIPELINE_FEEDS__{spec.name.upper()}__ENABLED=false",
        )
    topic, configured = topic_name(settings, spec), settings.feeds[spec.name].partitions
    if lacking := shortage(topic, spec.name, configured=configured, present=counts.get(topic, 0)):
        raise BrokerUnavailable(lacking, fix="`ray-pipeline up` makes the topics")
    return configured
