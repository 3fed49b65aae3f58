"""Reading a real broker's partitions by position."""

import uuid

from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from ray_pipeline.storage.kafka import reader
from ray_pipeline.storage.kafka.reader import KafkaLog
from tests.support import eventually


async def test_offsets_without_a_record_are_passed(kafka_bootstrap):
    """Each transaction ends with a marker that has an offset and is no record."""
    topic = f"transactions-{uuid.uuid4().hex}"
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka_bootstrap)
    await admin.start()
    await admin.create_topics([NewTopic(topic, 1, 1)])
    await admin.close()
    async with AIOKafkaProducer(
        bootstrap_servers=kafka_bootstrap, transactional_id=topic
    ) as producer:
        for value in (b"first", b"second"):
            async with producer.transaction():
                await producer.send_and_wait(topic, value, partition=0)
    log = KafkaLog({"bootstrap_servers": kafka_bootstrap}, topic)
    await log.open()
    found = []

    async def both() -> bool:
        found.extend(await log.poll(timeout_s=0.2, max_records=10))
        return len(found) == 2

    try:
        await log.start_at({0: 0})
        await eventually(both, timeout_s=30, what="both records")
    finally:
        await log.close()

    assert [(one.offset, one.value) for one in found] == [(0, b"first"), (2, b"second")]


async def test_the_lag_is_unknown_while_the_broker_is_frozen(own_kafka, monkeypatch):
    """It may hold records that no answer has shown; after the outage it is known again."""
    monkeypatch.setattr(reader, "LONGEST_SILENCE_S", 1.0)
    options = {"bootstrap_servers": own_kafka.bootstrap_servers}
    admin = AIOKafkaAdminClient(**options)
    await admin.start()
    await admin.create_topics([NewTopic("frozen", 1, 1)])
    await admin.close()
    log = KafkaLog(options, "frozen")
    await log.open()

    async def lag() -> dict[int, int]:
        await log.poll(timeout_s=0.05, max_records=10)
        return log.lag()

    async def known() -> bool:
        return await lag() == {0: 0}

    async def unknown() -> bool:
        return await lag() == {}

    try:
        await log.start_at({0: 0})
        await eventually(known, timeout_s=30, what="the lag")
        own_kafka.pause()
        try:
            await eventually(unknown, timeout_s=30, what="no lag")
        finally:
            own_kafka.resume()
        await eventually(known, timeout_s=60, what="the lag")
    finally:
        await log.close()
