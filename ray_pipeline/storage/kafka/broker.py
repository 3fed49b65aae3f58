"""A producer of records that is replaced after a failure."""

import asyncio
from collections.abc import Collection, Sequence

from aiokafka import AIOKafkaProducer
from aiokafka.errors import MessageSizeTooLargeError, RecordListTooLargeError

from ray_pipeline.errors import BrokerUnavailable, ConfigurationError, RecordTooLarge
from ray_pipeline.settings import Settings
from ray_pipeline.storage.kafka.client_options import client_options
from ray_pipeline.storage.kafka.client_start import FAILURES, failure_text, start_client
from ray_pipeline.storage.kafka.producer_disposal import dispose, forget, prepare_disposal

BATCH_BYTES = 256 * 1024
REQUEST_BYTES = 1_048_576
# The fields of a batch and of its first record, at most.
OVERHEAD_BYTES = 100
REQUEST_TIMEOUT_S = 5.0
# An idempotent producer repeats a batch without end; this limits it.
SEND_TIMEOUT_S = 6.0

OutgoingMessage = tuple[int, bytes, bytes]  # partition, key, value


class KafkaBroker:
    """
    Sends records and waits for all acknowledgements. Outboxes of one event loop may share it.

    A producer that failed once is replaced: an idempotent one has sequence numbers in flight that
    the broker may or may not have, and only a new producer is certain to be accepted.
    """

    def __init__(self, settings: Settings) -> None:
        """Prepare to connect; ConfigurationError if the settings lack an option."""
        self._options = client_options(settings.kafka, settings.bootstrap_servers())
        self._idempotence = settings.kafka.idempotence
        self._producer: AIOKafkaProducer | None = None
        self._lock = asyncio.Lock()
        self._closing: set[asyncio.Task[None]] = set()

    async def partitions(self, topic: str) -> int:
        """
        Return how many partitions a topic has.

        Raises:
            BrokerUnavailable: If the broker is away or has no such topic.
        """
        return len(await self._partitions(await self._connected(), topic))

    async def check_partition(self, topic: str, partition: int) -> None:
        """
        Check that a topic has a partition.

        Raises:
            BrokerUnavailable: If the broker is away, or has no such topic or partition.
        """
        await self._check_partition(await self._connected(), topic, partition)

    async def send(self, topic: str, messages: Sequence[OutgoingMessage]) -> None:
        """
        Send messages, in order within a partition, and return when all are acknowledged.

        Raises:
            RecordTooLarge: If one cannot be sent at all; those before it may have been.
            BrokerUnavailable: If not all were acknowledged; any of them may have been.
        """
        by_partition: dict[int, list[int]] = {}
        for index, (partition, key, value) in enumerate(messages):
            if len(key) + len(value) + OVERHEAD_BYTES > REQUEST_BYTES:
                raise _too_large(index, len(value), REQUEST_BYTES)
            by_partition.setdefault(partition, []).append(index)
        sends = [self._send_all(topic, messages, order) for order in by_partition.values()]
        if len(sends) == 1:
            await sends[0]
            return
        results = await asyncio.gather(*sends, return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException):
                raise result

    async def close(self) -> None:
        """Disconnect. What was not acknowledged by then may not have been sent."""
        async with self._lock:
            producer, self._producer = self._producer, None
        if producer is not None:
            await dispose(producer)
        await asyncio.gather(*self._closing)

    async def _send_all(
        self, topic: str, messages: Sequence[OutgoingMessage], order: list[int]
    ) -> None:
        position = 0
        while position < len(order):
            position += await self._send_batch(topic, messages, order[position:])

    async def _send_batch(
        self, topic: str, messages: Sequence[OutgoingMessage], order: Sequence[int]
    ) -> int:
        """Send as many messages as one batch holds and return their count."""
        # One batch after the other: a batch that fails must not be overtaken by the next one.
        producer = await self._connected()
        partition = messages[order[0]][0]
        batch, count = producer.create_batch(), 0
        for index in order:
            _, key, value = messages[index]
            if batch.append(timestamp=None, key=key, value=value) is None:
                break
            count += 1
        batch.close()
        await self._check_partition(producer, topic, partition)
        try:
            async with asyncio.timeout(SEND_TIMEOUT_S):
                future = await producer.send_batch(batch, topic, partition=partition)
                future.add_done_callback(forget)
                # Cancelling the future itself would break the producer for its other users.
                await asyncio.shield(future)
        except (MessageSizeTooLargeError, RecordListTooLargeError) as error:
            # The batch used sequence numbers that the broker will never see: replace the producer.
            self._discard(producer)
            if count == 1:
                size = len(messages[order[0]][2])
                raise _too_large(order[0], size, 0) from error
            return await self._send_batch(topic, messages, order[: count // 2])
        except (*FAILURES, AssertionError) as error:
            raise self._failed(producer, f"{topic} was not acknowledged", error) from error
        return count

    async def _check_partition(
        self, producer: AIOKafkaProducer, topic: str, partition: int
    ) -> None:
        # aiokafka would wait for the partition until the timeout and then not name it.
        numbers = await self._partitions(producer, topic)
        if partition not in numbers:
            # aiokafka reads the partitions every five minutes only; a new producer reads them now.
            self._discard(producer)
            raise BrokerUnavailable(
                f"Kafka: {topic} has no partition {partition}; its last one is {max(numbers)}",
                fix="add partitions to the topic; see `ray-pipeline status`",
            )

    async def _partitions(self, producer: AIOKafkaProducer, topic: str) -> Collection[int]:
        try:
            async with asyncio.timeout(SEND_TIMEOUT_S):
                numbers: Collection[int] = await producer.partitions_for(topic)
                return numbers
        except FAILURES as error:
            raise self._failed(producer, f"{topic} has no partitions", error) from error

    async def _connected(self) -> AIOKafkaProducer:
        async with self._lock:
            if self._producer is not None:
                return self._producer
            producer = prepare_disposal(
                AIOKafkaProducer(
                    **self._options,
                    acks="all",
                    enable_idempotence=self._idempotence,
                    linger_ms=0,
                    max_batch_size=BATCH_BYTES,
                    max_request_size=REQUEST_BYTES,
                    request_timeout_ms=int(REQUEST_TIMEOUT_S * 1000),
                    retry_backoff_ms=100,
                )
            )
            try:
                await start_client(producer, self._options, timeout_s=SEND_TIMEOUT_S)
            except ConfigurationError as error:
                # Records wait as in an outage: the password may be corrected on either side.
                self._dispose_later(producer)
                raise BrokerUnavailable(error.args[0], fix=error.fix) from None
            except BaseException:
                self._dispose_later(producer)
                raise
            self._producer = producer
            return producer

    def _failed(
        self, producer: AIOKafkaProducer, problem: str, error: BaseException
    ) -> BrokerUnavailable:
        self._discard(producer)
        return BrokerUnavailable(f"Kafka: {problem}: {failure_text(error, self._options)}")

    def _discard(self, producer: AIOKafkaProducer) -> None:
        if self._producer is producer:
            self._producer = None
            self._dispose_later(producer)

    def _dispose_later(self, producer: AIOKafkaProducer) -> None:
        task = asyncio.create_task(dispose(producer))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)


def _too_large(index: int, size: int, limit: int) -> RecordTooLarge:
    over = f"more than {limit}" if limit else "more than the broker takes"
    return RecordTooLarge(f"a record of {size} bytes is {over}", index=index)
