"""A plain producer for the commands that replay records."""

import contextlib
from collections.abc import AsyncIterator

from aiokafka import AIOKafkaProducer

from ray_pipeline.settings import Settings
from ray_pipeline.storage.kafka.client_options import client_options


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
