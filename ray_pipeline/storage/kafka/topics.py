"""The topics of the feeds: create those that are missing, and add missing partitions."""

import asyncio
import logging
from collections.abc import Sequence

from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic
from aiokafka.errors import (
    ClusterAuthorizationFailedError,
    IncompatibleBrokerVersion,
    InvalidConfigurationError,
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

from ray_pipeline.errors import BrokerUnavailable, ConfigurationError, PipelineError
from ray_pipeline.feeds.feed import Feed
from ray_pipeline.observe.topic_partitions import grow_fix
from ray_pipeline.settings import Settings
from ray_pipeline.storage.kafka.client_options import client_options
from ray_pipeline.storage.kafka.client_start import FAILURES, failure_text, start_client

log = logging.getLogger(__name__)

REQUEST_TIMEOUT_S = 5.0
TOPICS_TIMEOUT_S = 15.0
POLL_S = 0.1
# With the broker's own time, records of a producer with a wrong clock are neither refused (Kafka
# refuses a time more than an hour ahead) nor deleted early by the retention.
TOPIC_CONFIGS = {"message.timestamp.type": "LogAppendTime"}
NOT_ALLOWED = (TopicAuthorizationFailedError, ClusterAuthorizationFailedError)
WRONG = (
    InvalidPartitionsError,
    InvalidReplicationFactorError,
    InvalidTopicError,
    PolicyViolationError,
    *NOT_ALLOWED,
)
CONFIG_REFUSALS = (InvalidConfigurationError, PolicyViolationError)

# Unsupported: a broker that has no request for new partitions.
REFUSALS = (*WRONG, UnsupportedVersionError, IncompatibleBrokerVersion, InvalidRequestError)


async def ensure_topics(settings: Settings) -> None:
    """
    Give the broker at least the topics and partitions that the settings name, and wait for them.

    A topic that has more partitions keeps them: Kafka removes none. A topic that the broker refuses
    does not hold up the other topics.

    Raises:
        ConfigurationError: If the broker refuses the credentials, topics or their new partitions.
        BrokerUnavailable: If the broker is away or takes too long.
    """
    options = client_options(settings.kafka, settings.bootstrap_servers())
    admin = AIOKafkaAdminClient(**options, request_timeout_ms=int(REQUEST_TIMEOUT_S * 1000))
    try:
        await start_client(admin, options, timeout_s=2 * REQUEST_TIMEOUT_S)
        try:
            async with asyncio.timeout(TOPICS_TIMEOUT_S):
                refusals = [
                    *await _create(admin, topics(settings), settings.kafka.replication_factor),
                    *await _grow(admin, settings),
                ]
        except FAILURES as error:
            raise BrokerUnavailable(
                f"Kafka's topics could not be created: {failure_text(error, options)}"
            ) from error
        if refusals:
            raise _combined(refusals)
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
) -> list[PipelineError]:
    """Create the topics that are missing; return why the broker refuses some of them."""
    existing = set(await admin.list_topics())
    missing = [
        _new_topic(name, partitions, replication_factor)
        for name, partitions in partition_counts.items()
        if name not in existing
    ]
    refusals = await _request_topics(admin, missing)
    present = [name for name in partition_counts if name not in refusals]
    while not await _visible(admin, present):  # noqa: ASYNC110 - aiokafka has only polling
        await asyncio.sleep(POLL_S)
    return list(refusals.values())


async def _request_topics(
    admin: AIOKafkaAdminClient, missing: list[NewTopic]
) -> dict[str, PipelineError]:
    """Request topics; return why the broker refuses some of them, by name."""
    if not missing:
        return {}
    response = await admin.create_topics(missing, timeout_ms=int(REQUEST_TIMEOUT_S * 1000))
    refusals, plain = {}, []
    for name, code, *text in response.topic_errors:
        topic = next(topic for topic in missing if topic.name == name)
        if topic.topic_configs and for_code(code) in CONFIG_REFUSALS:
            # Some brokers and hosted services do not permit every option; the topic works without.
            log.warning("%s is created without %s, which Kafka refuses", name, TOPIC_CONFIGS)
            topic.topic_configs = {}
            plain.append(topic)
        elif refusal := _refusal(name, code, str(text[0] or "") if text else ""):
            refusals[name] = refusal
    return refusals | await _request_topics(admin, plain)


async def _grow(admin: AIOKafkaAdminClient, settings: Settings) -> list[PipelineError]:
    """
    Add the partitions that topics lack; a broker created them by itself, or settings changed.

    All topics grow at the same time: neither a refusal nor a slow topic holds up the next. Return
    why the broker refuses some of them.
    """
    refusals = await asyncio.gather(
        *(_grow_topic(admin, settings, spec) for spec in settings.enabled_feeds()),
        return_exceptions=True,
    )
    for refusal in refusals:
        if refusal is not None and not isinstance(refusal, PipelineError):
            raise refusal
    return [refusal for refusal in refusals if isinstance(refusal, PipelineError)]


async def _grow_topic(admin: AIOKafkaAdminClient, settings: Settings, spec: Feed) -> None:
    name, configured = topic_name(settings, spec), settings.feeds[spec.name].partitions
    present = await _partitions(admin, name)
    if not 0 < present < configured:
        return
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


def _combined(refusals: Sequence[PipelineError]) -> PipelineError:
    """Return all refusals as one error. Waiting does not help if one is about the settings."""
    if len(refusals) == 1:
        return refusals[0]
    wrong = any(isinstance(refusal, ConfigurationError) for refusal in refusals)
    kind = ConfigurationError if wrong else BrokerUnavailable
    text = "; ".join(str(refusal.args[0]) for refusal in refusals)
    return kind(text, fix="; ".join(refusal.fix for refusal in refusals if refusal.fix))


async def _partitions(admin: AIOKafkaAdminClient, name: str) -> int:
    (topic,) = await admin.describe_topics([name])
    return len(topic["partitions"])


def _new_topic(name: str, partitions: int, replication_factor: int) -> NewTopic:
    topic = NewTopic(name, partitions, 1, topic_configs=TOPIC_CONFIGS)
    # The constructor refuses -1, the broker's own default; the request does not.
    topic.replication_factor = replication_factor
    return topic


async def _visible(admin: AIOKafkaAdminClient, names: list[str]) -> bool:
    return not any(topic["error_code"] for topic in await admin.describe_topics(names))


def _refusal(name: str, code: int, text: str) -> PipelineError | None:
    kind = for_code(code)
    if code == 0 or kind is TopicAlreadyExistsError:
        return None
    if issubclass(kind, WRONG):
        return ConfigurationError(f"Kafka refuses topic {name}: {kind.__name__} {text}".rstrip())
    return BrokerUnavailable(f"Kafka did not create topic {name}: {kind.__name__} {text}".rstrip())
