"""
Keep the cache up to date with the stream, and rebuild it from history after an outage.

The writer never waits for the history store, nor the history store for it: it takes values into a
buffer, and whatever an outage makes it miss is rebuilt from history.

Every write compares a marker in the cache with the marker of the write before. So the writer
notices a cache that was emptied, restored from a snapshot, or replaced by a replica that lags. For
a quiet feed, it compares the marker alone, twice a second. The marker holds the time up to which
the cache is complete: the rebuild begins there, because an older copy lacks more than this writer
missed.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from random import Random

from ray_pipeline.errors import CacheUnavailable, DatabaseUnavailable, Unavailable
from ray_pipeline.retry import Backoff, retrying
from ray_pipeline.stream.cache import LatestBuffer, LatestValue
from ray_pipeline.stream.consumer_ports import ConsumerStatus, LatestStore, Rebuild
from ray_pipeline.tasks import wait_for_event

log = logging.getLogger(__name__)

RETRY_FIRST_S = 0.1
RETRY_LAST_S = 5.0
IDLE_S = 0.5


class CacheWriter:
    """Writes the newest values of each symbol and second."""

    def __init__(
        self,
        cache: LatestStore,
        rebuild: Rebuild,
        status: ConsumerStatus,
        *,
        clock: Callable[[], float],
    ) -> None:
        self._cache = cache
        self._rebuild = rebuild
        self._status = status
        self._clock = clock
        self._buffer = LatestBuffer()
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._changed: set[str] = set()
        self._complete = False
        self._writing = False

    def offer(self, values: Sequence[LatestValue]) -> None:
        """Take values to write; return at once."""
        self._buffer.add(values)
        self._idle.clear()
        self._wake.set()

    async def run(self) -> None:
        """Write until cancelled; an outage is waited out."""
        backoff = Backoff(base_s=RETRY_FIRST_S, cap_s=RETRY_LAST_S, random=Random())
        while True:
            await retrying(
                self._step,
                (CacheUnavailable, DatabaseUnavailable),
                failed=self._failed,
                backoff=backoff,
            )

    @property
    def written(self) -> bool:
        """Whether everything offered is written; clients may still have to be notified."""
        return not len(self._buffer) and not self._writing

    async def drained(self, timeout_s: float) -> bool:
        """Wait until everything is written; return False if that takes longer."""
        return await wait_for_event(self._idle, timeout_s)

    def _failed(self, error: Unavailable) -> None:
        # Redis may have lost its data meanwhile, so the outage ends with a rebuild.
        self._complete = False
        self._set_state(f"waiting: {error}")

    async def _step(self) -> None:
        if not self._complete or self._buffer.overflowed:
            self._buffer.overflowed = False
            self._set_state("rebuilding from postgres")
            await self._rebuild(self._cache, await self._cache.begin_rebuild())
            self._complete = True
        await self._write()
        if self._changed and await self._cache.publish(_notification(self._changed)):
            self._changed = set()
        if not len(self._buffer):
            if not self._changed:
                self._idle.set()
            self._wake.clear()
            await wait_for_event(self._wake, IDLE_S)

    async def _write(self) -> None:
        # Before the buffer is emptied: values that are offered from now on are in the next write.
        started_at_s = self._clock()
        values = self._buffer.cut()
        self._writing = bool(values)
        usage = None
        try:
            usage = await self._cache.write(values, complete_until_s=started_at_s)
        finally:
            self._writing = False
            if usage is None:
                self._buffer.put_back(values)
        if usage is None:
            raise CacheUnavailable("Redis was emptied, or replaced by an older copy; rebuilding it")
        self._status.redis_usage = usage
        self._changed.update(value.symbol for value in values)
        self._set_state("writing")

    def _set_state(self, state: str) -> None:
        if self._status.redis_state != state:
            log.log(logging.INFO if state == "writing" else logging.WARNING, "redis: %s", state)
            self._status.redis_state = state


def _notification(symbols: set[str]) -> str:
    names = ",".join(f'"{symbol}"' for symbol in sorted(symbols) if '"' not in symbol)
    return f'{{"count":{len(symbols)},"symbols":[{names}]}}'
