"""Compare the topics in Kafka with the settings, and write the result where the status reads it."""

import logging
from collections.abc import Iterator

from ray_pipeline.errors import BrokerUnavailable, ConfigurationError
from ray_pipeline.settings import Settings
from ray_pipeline.storage.kafka.positions import Positions, read_positions
from ray_pipeline.storage.kafka.topics import ensure_topics, topic_name
from ray_pipeline.storage.postgres.connection import session
from ray_pipeline.storage.postgres.topic_rows import TopicState, write_topics

log = logging.getLogger(__name__)


async def check_topics(settings: Settings) -> None:
    """
    Write the partitions of every enabled feed's topic, and how far their logs reach.

    Topics and partitions that are missing are created first: a topic may be deleted while the
    pipeline runs, and a broker that creates topics by itself gives them its own number of
    partitions. If the broker refuses, the written rows show what is missing.

    Raises:
        BrokerUnavailable, DatabaseUnavailable: If a store cannot be reached.
    """
    topics = await _read(settings)
    if any(len(topic.end_offsets) < topic.configured for topic in topics):
        try:
            await ensure_topics(settings)
            topics = await _read(settings)
        except (ConfigurationError, BrokerUnavailable) as error:
            # The rows below show it on every page; a warning at each check would fill the log.
            log.debug("%s", error)
    async with session(settings.postgres_dsn(), name="topics") as connection:
        await write_topics(connection, topics, generation=settings.ray.generation)


async def _read(settings: Settings) -> list[TopicState]:
    feeds = settings.enabled_feeds()
    return list(_states(settings, await read_positions(settings, feeds)))


def _states(settings: Settings, positions: Positions) -> Iterator[TopicState]:
    for feed in settings.enabled_feeds():
        topic = topic_name(settings, feed)
        logs = [position for (name, _), position in sorted(positions.items()) if name == topic]
        yield TopicState(
            topic=topic,
            feed=feed.name,
            configured=settings.feeds[feed.name].partitions,
            first_offsets=[position.first for position in logs],
            end_offsets=[position.end for position in logs],
        )
