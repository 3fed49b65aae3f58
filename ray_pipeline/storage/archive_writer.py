"""
Read a topic into the archive, independently of the consumer and at its own pace.

After a crash, records that Postgres has and the archive lacks must be read again, so the archive
keeps its own position, in its manifest.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from random import Random

from ray_pipeline.errors import BrokerUnavailable
from ray_pipeline.feeds.feed import Feed
from ray_pipeline.retry import Backoff
from ray_pipeline.settings import Settings
from ray_pipeline.storage.kafka.client_options import client_options
from ray_pipeline.storage.kafka.reader import KafkaLog
from ray_pipeline.storage.kafka.topics import topic_name
from ray_pipeline.storage.parquet import Archive
from ray_pipeline.stream.partition_resume import same_log
from ray_pipeline.tasks import wait_for_event

log = logging.getLogger(__name__)

POLL_S = 0.5
PARTITIONS_EVERY_S = 10.0
POLL_RECORDS = 5_000
RETRY_FIRST_S = 0.2
RETRY_LAST_S = 10.0


class Archiver:
    """Archives one feed's topic until it is stopped."""

    def __init__(
        self,
        settings: Settings,
        spec: Feed,
        *,
        directory: Path,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._topic = topic_name(settings, spec)
        self._options: Mapping[str, object] = client_options(
            settings.kafka, settings.bootstrap_servers()
        )
        self._drain_s = settings.streams.drain_s
        self._clock = clock
        self.archive = Archive(
            directory,
            spec.name,
            rows_per_file=settings.archive.rows_per_file,
            seconds_per_file=settings.archive.seconds_per_file,
        )
        self.cause = ""  # why it is not archiving; empty while it is

    async def run(self, stop: asyncio.Event) -> None:
        """
        Archive until `stop` is set, then archive what the topic holds at that moment, and close.

        Outages of the broker and a full disk are waited out. A crash loses nothing that Kafka still
        has: the next run continues where the manifest ends.

        Raises:
            OwnershipLost: If another process writes this archive.
        """
        self.archive.open()
        backoff = Backoff(base_s=RETRY_FIRST_S, cap_s=RETRY_LAST_S, random=Random())
        try:
            while True:
                try:
                    while await self._follow(stop):
                        pass
                except (BrokerUnavailable, OSError) as error:
                    self._complain(str(error))
                    if stop.is_set():
                        return
                    await wait_for_event(stop, backoff.next_s())
                else:
                    return
        finally:
            await self._close()

    async def _follow(self, stop: asyncio.Event) -> bool:
        """Archive until `stop` is set; return True if the topic got other partitions before."""
        topic = KafkaLog(self._options, self._topic)
        await topic.open()
        try:
            partitions = await topic.partitions()
            await topic.start_at(
                {number: await self._begin(topic, number) for number in partitions}
            )
            self.cause = ""
            check_at_s = self._clock() + PARTITIONS_EVERY_S
            while not stop.is_set():
                await self._step(topic)
                if self._clock() >= check_at_s:
                    if await topic.partitions() != partitions:
                        return True
                    check_at_s = self._clock() + PARTITIONS_EVERY_S
            await self._drain(topic, partitions)
            return False
        finally:
            await topic.close()

    async def _step(self, topic: KafkaLog) -> None:
        records = await topic.poll(timeout_s=POLL_S, max_records=POLL_RECORDS)
        self.archive.add(self._topic, records, now_s=self._clock())
        if self.archive.due(self._clock()):
            await self.archive.flush()

    async def _drain(self, topic: KafkaLog, partitions: list[int]) -> None:
        ends = {number: end for number, (_, end) in (await topic.bounds(partitions)).items()}
        deadline_s = self._clock() + self._drain_s
        while self._clock() < deadline_s and any(
            (self.archive.position(number).next_offset or 0) < end for number, end in ends.items()
        ):
            await self._step(topic)

    async def _begin(self, topic: KafkaLog, partition: int) -> int:
        """Return the offset where a partition resumes; a replaced log is read from its start."""
        position = self.archive.position(partition)
        first, end = (await topic.bounds([partition]))[partition]
        if position.next_offset is None:
            self.archive.restart(partition, offset=first, log=0)
            return first
        if not await same_log(
            topic, partition, position.next_offset, crc=position.tail_crc, bounds=(first, end)
        ):
            # Records in memory belong to the old log and must be written under its name.
            await self.archive.flush()
            log.warning("%s/%d: the broker began a new log", self._topic, partition)
            self.archive.restart(partition, offset=first, log=position.log + 1)
            return first
        if position.next_offset < first:
            missing = first - position.next_offset
            await self.archive.flush()
            log.warning("%s/%d: %d records are gone", self._topic, partition, missing)
            self.archive.restart(partition, offset=first, log=position.log, missing=missing)
            return first
        return position.next_offset

    async def _close(self) -> None:
        try:
            await self.archive.flush()
        except OSError as error:
            self._complain(str(error))
        self.archive.close()

    def _complain(self, cause: str) -> None:
        if cause != self.cause:
            log.warning("archive of %s waits: %s", self._topic, cause)
        self.cause = cause
