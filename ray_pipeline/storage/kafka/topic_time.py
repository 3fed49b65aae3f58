"""The topics in which the producers' clocks, and not the broker's, date the records."""

import asyncio
from collections.abc import Collection, Iterator
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from ray_pipeline.errors import BrokerUnavailable
from ray_pipeline.settings import Settings
from ray_pipeline.storage.kafka.client_options import client_options
from ray_pipeline.storage.kafka.client_start import FAILURES, failure_text
from ray_pipeline.storage.kafka.topics import TOPIC_CONFIGS

TIMEOUT_S = 10.0


async def producer_dated_topics(settings: Settings, names: Collection[str]) -> list[str]:
    """
    Return those of the existing topics that lack `TOPIC_CONFIGS`, sorted.

    A broker that does not report the option is left out.

    Raises:
        BrokerUnavailable: If the broker cannot be reached, or refuses to tell its options.
    """
    if not names:
        return []
    options = client_options(settings.kafka, settings.bootstrap_servers())
    admin = AIOKafkaAdminClient(**options)
    resources = [ConfigResource(ConfigResourceType.TOPIC, name) for name in names]
    try:
        async with asyncio.timeout(TIMEOUT_S):
            await admin.start()
            responses = await admin.describe_configs(resources)
    except FAILURES as error:
        raise BrokerUnavailable(
            f"Kafka does not report its topics' options: {failure_text(error, options)}"
        ) from error
    finally:
        await admin.close()
    return sorted(name for response in responses for name in _without(response))


def _without(response: Any) -> Iterator[str]:
    for _, _, _, name, entries in response.resources:
        reported = {entry[0]: entry[1] for entry in entries}
        if any(reported.get(key, value) != value for key, value in TOPIC_CONFIGS.items()):
            yield name
