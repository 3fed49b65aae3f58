"""
Reads a topic into the archive, on its own and at its own pace.

It does not ride on the consumer: what Postgres has and the archive has not yet written must come
again after a crash, so the archive keeps its own position, in its manifest.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from ray_pipeline.errors import BrokerUnavailable
from ray_pipeline.feeds.feed import Feed
from ray_pipeline.settings import Settings
from ray_pipeline.storage.kafka.broker import client_options
from ray_pipeline.storage.kafka.positions import topic_name
from ray_pipeline.storage.kafka.reader import KafkaLog
from ray_pipeline.storage.parquet import Archive
from ray_pipeline.stream.archive_layout import Place

log = logging.getLogger(__name__)

POLL_S = 0.5
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
        self.cause = ""  # why it is not archiving, empty where it is

    async def run(self, stop: asyncio.Event) -> None:
        """
        Archive until `stop` is set, then what the topic held at that moment, and close the file.

        Outages of the broker and a full disk are waited out. A crash loses nothing that Kafka still
        has: the next run goes on where the manifest ends.

        Raises:
            OwnershipLost: If another process writes this archive.
        """
        self.archive.open()
        pause_s = RETRY_FIRST_S
        try:
            while True:
                try:
                    await self._follow(stop)
                except (BrokerUnavailable, OSError) as error:
                    self._complain(str(error))
                    if stop.is_set():
                        return
                    await _wait(stop, pause_s)
                    pause_s = min(pause_s * 2, RETRY_LAST_S)
                else:
                    return
        finally:
            await self._close()

    async def _follow(self, stop: asyncio.Event) -> None:
        topic = KafkaLog(self._options, self._topic)
        await topic.open()
        try:
            partitions = await topic.partitions()
            await topic.start_at(
                {number: await self._begin(topic, number) for number in partitions}
            )
            self.cause = ""
            while not stop.is_set():
                await self._step(topic)
            await self._drain(topic, partitions)
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
            (self.archive.place(number).next_offset or 0) < end for number, end in ends.items()
        ):
            await self._step(topic)

    async def _begin(self, topic: KafkaLog, partition: int) -> int:
        """Return the offset at which a partition goes on; begin again where the log is another."""
        place = self.archive.place(partition)
        first, end = (await topic.bounds([partition]))[partition]
        if place.next_offset is None:
            self.archive.restart(partition, offset=first, log=0)
            return first
        if place.next_offset > end or not await self._same_log(
            topic, partition, place, first=first
        ):
            # What is in memory belongs to the old log and must be written under its name.
            await self.archive.flush()
            log.warning("%s/%d: the broker began a new log", self._topic, partition)
            self.archive.restart(partition, offset=first, log=place.log + 1)
            return first
        if place.next_offset < first:
            missing = first - place.next_offset
            await self.archive.flush()
            log.warning("%s/%d: %d records are gone", self._topic, partition, missing)
            self.archive.restart(partition, offset=first, log=place.log, missing=missing)
            return first
        return place.next_offset

    @staticmethod
    async def _same_log(topic: KafkaLog, partition: int, place: Place, *, first: int) -> bool:
        if place.next_offset is None or place.tail_crc is None or place.next_offset <= first:
            return True
        return await topic.tail_matches(partition, place.next_offset, place.tail_crc)

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


async def _wait(stop: asyncio.Event, seconds: float) -> None:
    try:
        await asyncio.wait_for(stop.wait(), seconds)
    except TimeoutError:
        return
