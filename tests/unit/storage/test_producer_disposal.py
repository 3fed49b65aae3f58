"""A producer ends without a word in asyncio's log, wherever its batches are."""

import asyncio
import gc

import pytest
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaError

from ray_pipeline.storage.kafka.producer_disposal import dispose, forget, prepare_disposal

PARTITION = TopicPartition("topic", 0)


class Reported(list):
    """What asyncio's exception handler was called with."""

    def __call__(self, _: asyncio.AbstractEventLoop, context: dict) -> None:
        self.append(str(context["message"]))


async def add_batch(producer: AIOKafkaProducer) -> asyncio.Future:
    builder = producer.create_batch()
    builder.append(timestamp=None, key=b"AAPL", value=b"1")
    builder.close()
    return await producer._message_accumulator.add_batch(builder, PARTITION, 1.0)


def send(producer: AIOKafkaProducer) -> object:
    return producer._message_accumulator._pop_batch(PARTITION)


@pytest.mark.parametrize("times_sent", [0, 1, 2, 3])
@pytest.mark.parametrize("waits_again", [False, True])
async def test_a_batch_fails_wherever_it_is(times_sent, waits_again):
    """It was never sent, is being sent, or waits to be sent again."""
    reported = Reported()
    asyncio.get_running_loop().set_exception_handler(reported)
    producer = prepare_disposal(AIOKafkaProducer())
    accumulator = producer._message_accumulator
    future = await add_batch(producer)
    future.add_done_callback(forget)
    for number in range(times_sent):
        batch = send(producer)
        if waits_again or number < times_sent - 1:
            accumulator.reenqueue(batch)

    await dispose(producer)

    with pytest.raises(KafkaError, match="was closed"):
        await future
    assert not accumulator._pending_batches
    del future, accumulator, producer
    gc.collect()
    await asyncio.sleep(0)
    assert reported == []


async def test_a_batch_that_returns_to_the_queue_after_its_failure_raises_nothing():
    """A request of the closed producer may still end, and try to repeat its batch."""
    reported = Reported()
    asyncio.get_running_loop().set_exception_handler(reported)
    producer = prepare_disposal(AIOKafkaProducer())
    future = await add_batch(producer)
    future.add_done_callback(forget)
    batch = send(producer)
    await dispose(producer)

    producer._message_accumulator.reenqueue(batch)

    assert reported == []
