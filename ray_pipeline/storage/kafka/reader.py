"""Partitions of a topic, read from Kafka by offset, without a consumer group."""

import logging
import time
import zlib
from collections.abc import Mapping, Sequence

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError, OffsetOutOfRangeError
from aiokafka.structs import OffsetAndMetadata

from ray_pipeline.errors import BrokerUnavailable, ConfigurationError, LogReplaced
from ray_pipeline.storage.kafka.client_start import start_client
from ray_pipeline.stream.batch import Message
from ray_pipeline.stream.offsets import Offsets

log = logging.getLogger(__name__)

FETCH_BYTES = 8 * 2**20
START_TIMEOUT_S = 15.0
MISSING_PATIENCE_S = 2.0
# A broker answers a fetch after 0.1 s, also without records. Shorter than the grace of a missing
# number: a number is missing only if the broker is known to hold no more records.
LONGEST_SILENCE_S = 8.0


class KafkaLog:
    """Reads partitions of one topic; implements `stream.consumer_ports.TopicReader`."""

    def __init__(self, options: Mapping[str, object], topic: str) -> None:
        self._topic = topic
        self._options = options
        self._consumer = AIOKafkaConsumer(
            **options,
            group_id=None,
            enable_auto_commit=False,
            auto_offset_reset="none",
            fetch_max_wait_ms=100,
            fetch_min_bytes=1,
            max_partition_fetch_bytes=FETCH_BYTES,
            request_timeout_ms=10_000,
            retry_backoff_ms=100,
        )
        self._offsets = Offsets(patience_s=MISSING_PATIENCE_S, clock=time.monotonic)
        # By partition: the time of the newest answer as the client notes it, and since when it has
        # been the newest. The client uses the wall clock, which may be set.
        self._answers: dict[int, tuple[int | None, float]] = {}

    async def open(self) -> None:
        """
        Connect.

        Raises:
            BrokerUnavailable: If the broker cannot be reached, or refuses; the text says why.
        """
        try:
            await start_client(self._consumer, self._options, timeout_s=START_TIMEOUT_S)
        except ConfigurationError as error:
            # The reader waits as in an outage: the password may be corrected on either side.
            await self._consumer.stop()
            raise BrokerUnavailable(error.args[0], fix=error.fix) from None
        except BrokerUnavailable:
            await self._consumer.stop()
            raise

    async def close(self) -> None:
        """Disconnect."""
        await self._consumer.stop()

    async def partitions(self) -> list[int]:
        """
        Return the topic's partitions.

        Raises:
            BrokerUnavailable: If the topic does not exist yet.
        """
        # No public method queries the broker about a topic without a subscription. The client's
        # own update comes every five minutes, too late for a topic that grew.
        await self._consumer._client.add_topic(self._topic)
        await self._consumer._client.force_metadata_update()
        partitions = self._consumer.partitions_for_topic(self._topic)
        if not partitions:
            raise BrokerUnavailable(f"topic {self._topic} does not exist yet")
        return sorted(partitions)

    async def bounds(self, partitions: Sequence[int]) -> dict[int, tuple[int, int]]:
        """
        Return each partition's first offset and the one after its last.

        Raises:
            BrokerUnavailable: If the broker does not answer.
        """
        numbered = [TopicPartition(self._topic, partition) for partition in partitions]
        try:
            first = await self._consumer.beginning_offsets(numbered)
            end = await self._consumer.end_offsets(numbered)
        except (KafkaError, OSError) as error:
            raise BrokerUnavailable(f"Kafka does not answer: {error}") from error
        return {item.partition: (first[item], end[item]) for item in numbered}

    async def start_at(self, offsets: Mapping[int, int]) -> None:
        """Begin reading at these offsets."""
        self._consumer.assign([TopicPartition(self._topic, number) for number in offsets])
        self._offsets.start_at(offsets)
        for partition, offset in offsets.items():
            self._consumer.seek(TopicPartition(self._topic, partition), offset)

    async def tail_matches(self, partition: int, next_offset: int, crc: int) -> bool:
        """
        Return whether the record before `next_offset` is still the one that was stored.

        A broker that lost its log begins again at offset 0 and soon has other records at the old
        offsets; resuming after them would skip them silently.

        Raises:
            BrokerUnavailable: If the broker does not answer.
        """
        assigned = TopicPartition(self._topic, partition)
        self._consumer.assign([assigned])
        self._consumer.seek(assigned, next_offset - 1)
        deadline_s = time.monotonic() + 10
        try:
            while time.monotonic() < deadline_s:
                records = await self._consumer.getmany(assigned, timeout_ms=500, max_records=1)
                for record in records.get(assigned, []):
                    # A compacted or transactional log may have no record at this offset.
                    if record.offset != next_offset - 1:
                        return True
                    return zlib.crc32(record.value or b"") == crc
        except OffsetOutOfRangeError:
            return False
        except (KafkaError, OSError) as error:
            raise BrokerUnavailable(f"Kafka does not answer: {error}") from error
        raise BrokerUnavailable(f"Kafka does not return offset {next_offset - 1} of {assigned}")

    async def poll(self, *, timeout_s: float, max_records: int) -> Sequence[Message]:
        """
        Return the available records, in order within a partition; wait for the first.

        Raises:
            LogReplaced: If the log lost the next offset of a partition.
            BrokerUnavailable: If the broker is away.
        """
        try:
            batches = await self._consumer.getmany(
                timeout_ms=int(timeout_s * 1000), max_records=max_records
            )
        except OffsetOutOfRangeError as error:
            raise LogReplaced(f"{self._topic}: the broker replaced its log") from error
        except (KafkaError, OSError) as error:
            raise BrokerUnavailable(f"Kafka does not answer: {error}") from error
        messages: list[Message] = []
        for source, records in batches.items():
            taken = self._offsets.take(source.partition, records)
            if taken < len(records):
                self._consumer.seek(source, self._offsets.next_offset(source.partition))
            messages += [
                Message(source.partition, record.offset, record.timestamp, record.key, record.value)
                for record in records[:taken]
            ]
        return messages

    def lag(self) -> dict[int, int]:
        """
        Return how many unread records each partition holds, as far as known.

        The end of a partition is unknown before the first answer of the broker, and after several
        seconds without one.
        """
        lags = {}
        for assigned in self._consumer.assignment():
            end = self._consumer.highwater(assigned)
            if end is None:
                continue
            lag = max(0, end - self._offsets.next_offset(assigned.partition))
            # Without an answer, no record arrives: a positive lag stays positive.
            if lag or self._silence_s(assigned) < LONGEST_SILENCE_S:
                lags[assigned.partition] = lag
        return lags

    def _silence_s(self, assigned: TopicPartition) -> float:
        """Return the time since the broker's newest answer to a fetch of a partition."""
        answered_ms = self._consumer.last_poll_timestamp(assigned)
        now_s = time.monotonic()
        newest_ms, since_s = self._answers.get(assigned.partition, (None, now_s))
        if newest_ms != answered_ms:
            since_s = now_s
        self._answers[assigned.partition] = (answered_ms, since_s)
        return now_s - since_s


class LagReporter:
    """
    Commits offsets to Kafka for tools that show a group's lag. Nothing else depends on them.

    It has its own connection, which reads nothing: a consumer with a group id needs the group's
    coordinator even for manually assigned partitions, and its outage must not stop the reader.
    """

    def __init__(self, options: Mapping[str, object], topic: str, *, group: str) -> None:
        self._options = dict(options)
        self._topic = topic
        self._group = group
        self._consumer: AIOKafkaConsumer | None = None

    async def report(self, offsets: Mapping[int, int]) -> None:
        """Commit offsets. A failure is only logged: the next report carries newer offsets."""
        if not offsets:
            return
        partitions = {
            TopicPartition(self._topic, number): offset for number, offset in offsets.items()
        }
        try:
            consumer = await self._open(list(partitions))
            await consumer.commit(
                {
                    partition: OffsetAndMetadata(offset, "")
                    for partition, offset in partitions.items()
                }
            )
        except (KafkaError, OSError, AssertionError) as error:
            log.debug("offsets of %s were not committed: %s", self._topic, error)
            await self.close()

    async def close(self) -> None:
        """Disconnect."""
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            await consumer.stop()

    async def _open(self, partitions: list[TopicPartition]) -> AIOKafkaConsumer:
        if self._consumer is None:
            consumer = AIOKafkaConsumer(
                **self._options, group_id=self._group, enable_auto_commit=False
            )
            self._consumer = consumer
            consumer.assign(partitions)
            consumer.pause(*partitions)
            await consumer.start()
        return self._consumer
