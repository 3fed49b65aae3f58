"""The partitions that a consumer owns, read from Kafka by position, not by group."""

import logging
import time
import zlib
from collections.abc import Mapping, Sequence

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError, OffsetOutOfRangeError
from aiokafka.structs import OffsetAndMetadata

from ray_pipeline.errors import BrokerUnavailable, ConfigurationError, LogReplaced
from ray_pipeline.storage.kafka.broker import start_client
from ray_pipeline.stream.batch import Message
from ray_pipeline.stream.offsets import Offsets

log = logging.getLogger(__name__)

FETCH_BYTES = 8 * 2**20
START_TIMEOUT_S = 15.0
HOLE_PATIENCE_S = 2.0


class KafkaLog:
    """Reads partitions of one topic from given offsets, without a consumer group."""

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
        self._offsets = Offsets(patience_s=HOLE_PATIENCE_S, clock=time.monotonic)

    async def open(self) -> None:
        """
        Connect.

        Raises:
            BrokerUnavailable: If the broker cannot be reached, or refuses; the text says why.
        """
        try:
            await start_client(self._consumer, self._options, timeout_s=START_TIMEOUT_S)
        except ConfigurationError as error:
            # The reader waits all the same: a password may be changed on either side.
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
            BrokerUnavailable: If the topic is not there yet.
        """
        # No public call asks the broker about a topic that is not subscribed to.
        await self._consumer._client.add_topic(self._topic)
        found = self._consumer.partitions_for_topic(self._topic)
        if not found:
            raise BrokerUnavailable(f"topic {self._topic} does not exist yet")
        return sorted(found)

    async def bounds(self, partitions: Sequence[int]) -> dict[int, tuple[int, int]]:
        """
        Return each partition's first offset and the one after its last.

        Raises:
            BrokerUnavailable: If the broker does not answer.
        """
        places = [TopicPartition(self._topic, partition) for partition in partitions]
        try:
            first = await self._consumer.beginning_offsets(places)
            end = await self._consumer.end_offsets(places)
        except (KafkaError, OSError) as error:
            raise BrokerUnavailable(f"Kafka does not answer: {error}") from error
        return {place.partition: (first[place], end[place]) for place in places}

    async def start_at(self, offsets: Mapping[int, int]) -> None:
        """Begin reading at these offsets."""
        self._consumer.assign([TopicPartition(self._topic, number) for number in offsets])
        self._offsets.start_at(offsets)
        for partition, offset in offsets.items():
            self._consumer.seek(TopicPartition(self._topic, partition), offset)

    async def tail_matches(self, partition: int, next_offset: int, crc: int) -> bool:
        """
        Return whether the record before `next_offset` is still the one that was stored.

        A broker that lost its log begins again at offset 0 and soon has other records under the
        old numbers; going on behind them would skip them in silence.

        Raises:
            BrokerUnavailable: If the broker does not answer.
        """
        place = TopicPartition(self._topic, partition)
        self._consumer.assign([place])
        self._consumer.seek(place, next_offset - 1)
        deadline_s = time.monotonic() + 10
        try:
            while time.monotonic() < deadline_s:
                found = await self._consumer.getmany(place, timeout_ms=500, max_records=1)
                for record in found.get(place, []):
                    # A compacted or transactional log may skip the very offset.
                    if record.offset != next_offset - 1:
                        return True
                    return zlib.crc32(record.value or b"") == crc
        except OffsetOutOfRangeError:
            return False
        except (KafkaError, OSError) as error:
            raise BrokerUnavailable(f"Kafka does not answer: {error}") from error
        raise BrokerUnavailable(f"Kafka does not return offset {next_offset - 1} of {place}")

    async def poll(self, *, timeout_s: float, max_records: int) -> Sequence[Message]:
        """
        Return what is there, in order within a partition; wait for the first record.

        Raises:
            LogReplaced: If a position is no longer in the log.
            BrokerUnavailable: If the broker is away.
        """
        try:
            found = await self._consumer.getmany(
                timeout_ms=int(timeout_s * 1000), max_records=max_records
            )
        except OffsetOutOfRangeError as error:
            raise LogReplaced(f"{self._topic}: the broker's log is not the one we read") from error
        except (KafkaError, OSError) as error:
            raise BrokerUnavailable(f"Kafka does not answer: {error}") from error
        messages: list[Message] = []
        for place, records in found.items():
            taken = self._offsets.take(place.partition, records)
            if taken < len(records):
                self._consumer.seek(place, self._offsets.next_offset(place.partition))
            messages += [
                Message(place.partition, record.offset, record.timestamp, record.key, record.value)
                for record in records[:taken]
            ]
        return messages

    def lag(self) -> dict[int, int]:
        """Return how many records each partition still holds for us, as far as known."""
        lags = {}
        for place in self._consumer.assignment():
            end = self._consumer.highwater(place)
            if end is not None:
                lags[place.partition] = max(0, end - self._offsets.next_offset(place.partition))
        return lags


class LagReporter:
    """
    Commits offsets to Kafka, for tools that show a group's lag. Nothing else depends on them.

    It has a connection of its own that reads nothing: a consumer with a group id coordinates even
    partitions that were assigned by hand, and its trouble must not become the reader's.
    """

    def __init__(self, options: Mapping[str, object], topic: str, *, group: str) -> None:
        self._options = dict(options)
        self._topic = topic
        self._group = group
        self._consumer: AIOKafkaConsumer | None = None

    async def report(self, offsets: Mapping[int, int]) -> None:
        """Commit offsets; a failure is forgotten, the next report carries newer ones anyway."""
        if not offsets:
            return
        places = {
            TopicPartition(self._topic, partition): offset for partition, offset in offsets.items()
        }
        try:
            consumer = await self._open(list(places))
            await consumer.commit(
                {place: OffsetAndMetadata(offset, "") for place, offset in places.items()}
            )
        except (KafkaError, OSError, AssertionError) as error:
            log.debug("offsets of %s were not committed: %s", self._topic, error)
            await self.close()

    async def close(self) -> None:
        """Disconnect."""
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            await consumer.stop()

    async def _open(self, places: list[TopicPartition]) -> AIOKafkaConsumer:
        if self._consumer is None:
            consumer = AIOKafkaConsumer(
                **self._options, group_id=self._group, enable_auto_commit=False
            )
            self._consumer = consumer
            consumer.assign(places)
            consumer.pause(*places)
            await consumer.start()
        return self._consumer
