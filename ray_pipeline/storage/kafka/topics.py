"""The topics of the feeds: create those that are missing, and add missing partitions."""

import asyncio
import logging

from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic
from aiokafka.errors import (
    ClusterAuthorizationFailedError,
    IncompatibleBrokerVersion,
    InvalidPartitionsError,
    InvalidReplicationFactorError,
    InvalidRequestError,
    InvalidTopicError,
    PolicyViolationError,
    TopicAlreadyExistsError,
    TopicAuthorizationFailedError,
    UnsupportedVersionError,
    for_code,
)

from ray_pipeline.errors import BrokerUnavailable, ConfigurationError
from ray_pipeline.feeds.feed import Feed
from ray_pipeline.observe.topic_partitions import grow_fix
from ray_pipeline.settings import Settings
from ray_pipeline.storage.kafka.client_options import client_options
from ray_pipeline.storage.kafka.client_start import FAILURES, failure_text, start_client

log = logging.getLogger(__name__)

REQUEST_TIMEOUT_S = 5.0
TOPICS_TIMEOUT_S = 15.0
POLL_S = 0.1
NOT_ALLOWED = (TopicAuthorizationFailedError, ClusterAuthorizationFailedError)
WRONG = (
    InvalidPartitionsError,
    InvalidReplicationFactorError,
    InvalidTopicError,
    PolicyViolationError,
    *NOT_ALLOWED,
)

# Unsupported: a broker that has no request for new partitions.
REFUSALS = (*WRONG, UnsupportedVersionError, IncompatibleBrokerVersion, InvalidRequestError)


async def ensure_topics(settings: Settings) -> None:
    """
    Give the broker at least the topics and partitions that the settings name, and wait for them.

    A topic that has more partitions keeps them: Kafka removes none.

    Raises:
        ConfigurationError: If the broker refuses the credentials, a topic or its new partitions.
        BrokerUnavailable: If the broker is away or takes too long.
    """
    options = client_options(settings.kafka, settings.bootstrap_servers())
    admin = AIOKafkaAdminClient(**options, request_timeout_ms=int(REQUEST_TIMEOUT_S * 1000))
    try:
        await start_client(admin, options, timeout_s=2 * REQUEST_TIMEOUT_S)
        try:
            async with asyncio.timeout(TOPICS_TIMEOUT_S):
                await _create(admin, topics(settings), settings.kafka.replication_factor)
                await _grow(admin, settings)
        except FAILURES as error:
            raise BrokerUnavailable(
                f"Kafka's topics could not be created: {failure_text(error, options)}"
            ) from error
    finally:
        await admin.close()


def topics(settings: Settings) -> dict[str, int]:
    """Return the topic of each enabled feed, with the prefix, and its number of partitions."""
    return {
        topic_name(settings, spec): settings.feeds[spec.name].partitions
        for spec in settings.enabled_feeds()
    }


def topic_name(settings: Settings, spec: Feed) -> str:
    """Return a feed's topic as the broker knows it."""
    return settings.kafka.topic_prefix + spec.topic


async def _create(
    admin: AIOKafkaAdminClient, partition_counts: dict[str, int], replication_factor: int
) -> None:
    existing = set(await admin.list_topics())
    missing = [
        _new_topic(name, partitions, replication_factor)
        for name, partitions in partition_counts.items()
        if name not in existing
    ]
    if missing:
        response = await admin.create_topics(missing, timeout_ms=int(REQUEST_TIMEOUT_S * 1000))
        for name, code, *text in response.topic_errors:
            _check(name, code, str(text[0] or "") if text else "")
    while not await _visible(admin, list(partition_counts)):  # noqa: ASYNC110 - aiokafka has only polling
        await asyncio.sleep(POLL_S)


async def _grow(admin: AIOKafkaAdminClient, settings: Settings) -> None:
    """Add the partitions that topics lack; a broker created them by itself, or settings changed."""
    for spec in settings.enabled_feeds():
        name, configured = topic_name(settings, spec), settings.feeds[spec.name].partitions
        present = await _partitions(admin, name)
        if present >= configured:
            continue
        try:
            await admin.create_partitions(
                {name: NewPartitions(configured)}, timeout_ms=int(REQUEST_TIMEOUT_S * 1000)
            )
        except REFUSALS as error:
            # Another process may have been faster.
            if (present := await _partitions(admin, name)) < configured:
                raise ConfigurationError(
                    f"{name} has {present} of the {configured} partitions that the settings name, "
                    f"and Kafka refuses to add some: {type(error).__name__}",
                    fix=grow_fix(name, spec.name, configured),
                ) from error
        while await _partitions(admin, name) < configured:  # noqa: ASYNC110 - as in `_create`
            await asyncio.sleep(POLL_S)
        log.warning("%s: grown from %d to %d partitions", name, present, configured)


async def _partitions(admin: AIOKafkaAdminClient, name: str) -> int:
    (topic,) = await admin.describe_topics([name])
    return len(topic["partitions"])


def _new_topic(name: str, partitions: int, replication_factor: int) -> NewTopic:
    topic = NewTopic(name, partitions, 1)
    # The constructor refuses -1, the broker's own default; the request does not.
    topic.replication_factor = replication_factor
    return topic


async def _visible(admin: AIOKafkaAdminClient, names: list[str]) -> bool:
    return not any(topic["error_code"] for topic in await admin.describe_topics(names))


def _check(name: str, code: int, text: str) -> None:
    kind = for_code(code)
    if code == 0 or kind is TopicAlreadyExistsError:
        return
    if issubclass(kind, WRONG):
        raise ConfigurationError(f"Kafka refuses topic {name}: {kind.__name__} {text}".rstrip())
    raise BrokerUnavailable(f"Kafka did not create topic {name}: {kind.__name__} {text}".rstrip())
