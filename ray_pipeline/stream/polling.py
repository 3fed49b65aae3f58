"""A venue's REST API: a snapshot at the start, and a replacement while the WebSocket is down."""

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from ray_pipeline.errors import FeedRefused, FeedUnavailable
from ray_pipeline.stream.ingest import Intake
from ray_pipeline.stream.venue_connection import Clock, Collector

log = logging.getLogger(__name__)


class RecordSource(Protocol):
    """The REST API."""

    def records(self, symbols: Sequence[str]) -> AsyncIterator[Sequence[object]]:
        """Yield the contents of each answer: records as the venue writes them, and refusals."""


@dataclass(frozen=True, slots=True)
class Poller:
    """Requests the records that the WebSocket does not deliver."""

    source: RecordSource
    intake: Intake
    collector: Collector
    pause_s: float
    clock: Clock

    async def run(self) -> None:
        """Take a snapshot, then poll while the WebSocket is down, until cancelled."""
        started = False
        while True:
            if not started:
                started = await self._round()
            elif self._needed() and await self._round():
                self.collector.gaps.note(f"polled over REST every {self.pause_s:g} s meanwhile")
            await asyncio.sleep(self.pause_s)

    def _needed(self) -> bool:
        return self.collector.gaps.feed is not None and not self.collector.paused

    async def _round(self) -> bool:
        """Request all symbols once; return whether every answer arrived."""
        symbols = self.collector.subscriptions.desired
        try:
            async for events in self.source.records(symbols):
                self.intake.take_answer(events, self.clock.now())
        except (FeedUnavailable, FeedRefused) as error:
            log.warning("%s: %s", self.intake.notices.origin.name, error)
            return False
        return bool(symbols)
