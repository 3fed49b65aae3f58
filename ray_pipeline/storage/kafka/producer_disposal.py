"""Stop a producer that failed, without waiting for the batches that it repeats."""

import asyncio
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

CLOSE_TIMEOUT_S = 2.0


class _PendingBatches(set[Any]):
    """
    The batches of an accumulator that are being sent.

    aiokafka removes a batch from this set when its future is done. A batch that is sent again was
    removed before, when it went back to the queue. If it fails while it waits there, as every batch
    of a closed producer does, `set.remove` raises KeyError inside a callback of the future, and
    asyncio logs "Exception in callback MessageAccumulator._pop_batch". The batch is where it must
    be; nothing but the log depends on the error.
    """

    def remove(self, batch: Any) -> None:
        """Remove a batch, unless it waits to be sent again."""
        self.discard(batch)


def prepare_disposal(producer: AIOKafkaProducer) -> AIOKafkaProducer:
    """Prepare a new producer, before its first batch, to be disposed of at any time."""
    producer._message_accumulator._pending_batches = _PendingBatches()
    return producer


async def dispose(producer: AIOKafkaProducer) -> None:
    """Stop a producer without waiting for the batches that it still sends. It raises nothing."""
    # `stop` alone would wait for every batch, and an idempotent producer repeats them forever. The
    # sender ends before the batches are failed: it raises if a batch fails that it is sending.
    sender = producer._sender.sender_task if producer._sender is not None else None
    if sender is not None:
        sender.cancel()
    await _end(asyncio.create_task(producer.client.close()))
    if sender is not None:
        await _end(sender)
    batches = producer._message_accumulator
    for waiting in batches._batches.values():
        for batch in waiting:
            batch._drain_waiter.add_done_callback(forget)
    batches.fail_all(KafkaError("the producer was closed"))
    await _end(asyncio.create_task(producer.stop()))


async def _end(task: "asyncio.Task[None]") -> None:
    """Wait for a task for a short time, then cancel it; ignore its result."""
    await asyncio.wait([task], timeout=CLOSE_TIMEOUT_S)
    task.cancel()
    task.add_done_callback(forget)


def forget(future: "asyncio.Future[Any]") -> None:
    """Retrieve an exception that nothing awaits; asyncio would log it otherwise."""
    if not future.cancelled():
        future.exception()
