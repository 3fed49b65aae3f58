"""What a consumer writes about itself: heartbeats, and the gaps of numbers that stay missing."""

import contextlib
import logging
from collections.abc import Callable, Coroutine, Sequence

from ray_pipeline.errors import DatabaseUnavailable
from ray_pipeline.feeds.feed import partition_of
from ray_pipeline.stream.consume import STORING
from ray_pipeline.stream.consumer_ports import ConsumerBeat, ConsumerRecords, ConsumerStatus
from ray_pipeline.stream.missing import MissingRangeWatch, missing

log = logging.getLogger(__name__)

HEARTBEAT_S = 1.0
MISSING_EVERY_S = 5.0
MISSING_GRACE_S = 15.0


class ConsumerReports:
    """
    Reports of one consumer; an outage of the database skips some.

    Attributes:
        present: The partitions that the topic has; None before the broker named them.
    """

    def __init__(
        self,
        records: ConsumerRecords,
        status: ConsumerStatus,
        *,
        partitions: Sequence[int],
        configured: int,
        monotonic_s: Callable[[], float],
        sleep: Callable[[float], Coroutine[object, object, None]],
    ) -> None:
        self._records = records
        self._status = status
        self._partitions = partitions
        self._configured = configured
        self._monotonic_s = monotonic_s
        self._sleep = sleep
        self._watch = MissingRangeWatch(grace_s=MISSING_GRACE_S)
        self.present: Sequence[int] | None = None

    async def send_beats(self) -> None:
        """Write a heartbeat a second until cancelled."""
        while True:
            await self.send_beat()
            await self._sleep(HEARTBEAT_S)

    async def send_beat(self) -> None:
        """Write the state of every partition: the assigned ones, and those that it reads."""
        partitions = sorted({*self._partitions, *self._status.lag})
        beats = [self._beat(partition) for partition in partitions]
        with contextlib.suppress(DatabaseUnavailable):
            await self._records.write_beats(beats)

    def _beat(self, partition: int) -> ConsumerBeat:
        status = self._status
        state, cause = status.state, status.cause
        if self.present is not None and partition not in self.present:
            state, cause = (
                "absent",
                f"the topic has {len(self.present)} of {self._configured} partitions",
            )
        return ConsumerBeat(
            partition,
            state,
            cause,
            status.lag.get(partition, 0),
            status.redis_state,
            status.redis_usage,
        )

    async def write_missing_ranges(self) -> None:
        """Write the ranges that outlived their grace as gaps, until cancelled."""
        while True:
            await self._sleep(MISSING_EVERY_S)
            # A number is missing only if everything that the broker holds was read without it.
            if self._status.state != STORING or any(self._status.lag.values()):
                continue
            try:
                # A change of the settings moves a shard to another partition, perhaps of another
                # consumer, while its earlier records still wait in the old one.
                if not await self._records.waiting():
                    await self._write_expired()
            except DatabaseUnavailable as error:
                log.debug("missing ranges are not written: %s", error)

    async def _write_expired(self) -> None:
        ranges = [
            item
            for item in missing(await self._records.read_numbers())
            if partition_of(item.shard, self._configured) in self._partitions
        ]
        if expired := self._watch.expired(ranges, now_s=self._monotonic_s()):
            cause = "numbered by the producer, but not in the broker's log"
            await self._records.write_missing(expired, cause=cause)
