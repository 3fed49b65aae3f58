"""What a consumer writes about itself: heartbeats, and the gaps of numbers that stay missing."""

import contextlib
import logging
from collections import deque
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
LONGEST_BACKLOG_S = 10.0  # a store that is further behind counts as an outage


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
        situation: Callable[[], tuple[str, str]],
        partitions: Sequence[int],
        configured: int,
        monotonic_s: Callable[[], float],
        sleep: Callable[[float], Coroutine[object, object, None]],
    ) -> None:
        self._records = records
        self._status = status
        self._situation = situation
        self._partitions = partitions
        self._configured = configured
        self._monotonic_s = monotonic_s
        self._sleep = sleep
        self._watch = MissingRangeWatch(grace_s=MISSING_GRACE_S)
        self._backlog = Backlog()
        self._read_at_s = 0.0  # of the last check at which no record waited in any partition
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
        state, cause = self._situation()
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
            slept_from_s = self._monotonic_s()
            await self._sleep(MISSING_EVERY_S)
            if self._monotonic_s() - slept_from_s > 2 * MISSING_EVERY_S:
                # The process was suspended. What it knows of the broker is from before: records
                # that arrived meanwhile are unread, and no lag shows them.
                self._backlog.clear()
                self._watch.restart()
                continue
            try:
                checked = await self._write_expired()
            except DatabaseUnavailable as error:
                log.debug("missing ranges are not written: %s", error)
                checked = False
            if not checked:
                # Numbers may have been in the broker all the time: their grace begins again.
                self._watch.restart()

    async def _write_expired(self) -> bool:
        """Write the expired ranges; return False if it is not known what the broker holds."""
        now_s = self._monotonic_s()
        if self._situation()[0] != STORING:
            self._backlog.clear()
            return False
        # A number is missing only if everything that the broker held is stored without it.
        settled_until_s = self._backlog.settled_until_s(self._status, now_s=now_s)
        if settled_until_s is None or now_s - settled_until_s > LONGEST_BACKLOG_S:
            return False
        # A change of the settings moves a shard to another partition, perhaps of another consumer,
        # while its earlier records still wait in the old one.
        if await self._records.waiting():
            return now_s - self._read_at_s <= LONGEST_BACKLOG_S
        self._read_at_s = now_s
        ranges = [
            item
            for item in missing(await self._records.read_numbers())
            if partition_of(item.shard, self._configured) in self._partitions
        ]
        if expired := self._watch.expired(ranges, now_s=now_s, settled_until_s=settled_until_s):
            cause = "numbered by the producer, but not in the broker's log"
            await self._records.write_missing(expired, cause=cause)
        return True


class Backlog:
    """
    Up to which moment everything that the broker held is stored.

    A busy consumer always has records in flight, so it cannot wait until nothing is. Instead, each
    check notes how many messages had to be settled in order to store what the broker held then.
    """

    def __init__(self) -> None:
        self._targets: deque[tuple[float, int]] = deque()
        self._settled_until_s: float | None = None

    def clear(self) -> None:
        """Forget everything: after an outage, the lag that was known before it is outdated."""
        self._targets.clear()
        self._settled_until_s = None

    def settled_until_s(self, status: ConsumerStatus, *, now_s: float) -> float | None:
        """Return the last such moment; None if no moment is known."""
        target = status.read + sum(status.lag.values())
        # A new tenure begins at the stored offsets: what the last one had read does not count.
        while self._targets and self._targets[-1][1] > target:
            self._targets.pop()
        self._targets.append((now_s, target))
        while self._targets and self._targets[0][1] <= status.settled:
            self._settled_until_s, _ = self._targets.popleft()
        return self._settled_until_s
