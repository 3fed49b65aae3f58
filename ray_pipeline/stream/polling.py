"""A venue's REST API: a snapshot at the start, and a replacement while the WebSocket is down."""

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from typing import Protocol

from ray_pipeline.errors import FeedRefused, FeedUnavailable
from ray_pipeline.retry import Backoff
from ray_pipeline.stream.connection_ports import Clock
from ray_pipeline.stream.exclusions import Exclusions
from ray_pipeline.stream.ingest import Intake
from ray_pipeline.stream.venue_connection import Collector
from ray_pipeline.tasks import first_of

log = logging.getLogger(__name__)


class RecordSource(Protocol):
    """The REST API."""

    @property
    def exclusions(self) -> Exclusions:
        """The symbols that it refuses."""

    def records(self, symbols: Sequence[str]) -> AsyncIterator[Sequence[object]]:
        """Yield the contents of each answer: records as the venue writes them, and refusals."""


class Poller:
    """Requests the records that the WebSocket does not deliver."""

    def __init__(
        self,
        source: RecordSource,
        intake: Intake,
        collector: Collector,
        *,
        pause_s: float,
        clock: Clock,
        backoff: Backoff,
    ) -> None:
        """
        Args:
            pause_s: Seconds between two rounds.
            backoff: Longer pauses after failed rounds.
        """
        self._source = source
        self._intake = intake
        self._collector = collector
        self._pause_s = pause_s
        self._clock = clock
        self._backoff = backoff
        self._failure = ""
        self._started = False  # whether a snapshot is complete
        self._next_s = pause_s

    @property
    def cause(self) -> str:
        """Why the newest round failed, and which symbols are excluded; empty if all is well."""
        return "; ".join(filter(None, (self._failure, self._source.exclusions.describe())))

    async def run(self) -> None:
        """Take a snapshot, then poll while the WebSocket is down, until cancelled."""
        while True:
            self._next_s = self._pause_s
            if self._is_needed():
                # A round has many calls; a pause stops it before the next.
                await first_of(self._attempt(), self._collector.until_paused())
            await asyncio.sleep(self._next_s)

    def _is_needed(self) -> bool:
        if self._collector.paused:
            return False
        return not self._started or self._collector.gaps.feed is not None

    async def _attempt(self) -> None:
        try:
            complete = await self._round(remark=self._started)
        except (FeedUnavailable, FeedRefused) as error:
            self._next_s = self._fail(error)
        else:
            self._started = self._started or complete

    async def _round(self, *, remark: bool) -> bool:
        """Request all symbols once, and note it in the open gap; return whether there were any."""
        symbols = self._collector.subscriptions.desired
        async for events in self._source.records(symbols):
            self._intake.take_answer(events, self._clock.now())
        self._failure = ""
        self._backoff.reset()
        if remark:
            self._collector.gaps.note(f"polled over REST every {self._pause_s:g} s meanwhile")
        return bool(symbols)

    def _fail(self, error: FeedUnavailable | FeedRefused) -> float:
        """Note a failed round and return the seconds to wait after it."""
        self._failure = str(error)
        log.warning("%s: %s", self._intake.notices.origin.name, error)
        requested_s = error.retry_after_s if isinstance(error, FeedRefused) else 0.0
        return max(self._pause_s, requested_s, self._backoff.next_s())
