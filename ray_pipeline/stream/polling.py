"""Bithumb over REST: a snapshot to start with, and a substitute while the WebSocket is down."""

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from ray_pipeline.errors import FeedRefused, FeedUnavailable
from ray_pipeline.feeds.bithumb import RawTicker, Refusal
from ray_pipeline.stream.connection import Clock, Collector
from ray_pipeline.stream.ingest import TickerIntake

log = logging.getLogger(__name__)


class TickerSource(Protocol):
    """The REST API."""

    def tickers(self, markets: Sequence[str]) -> AsyncIterator[Sequence[RawTicker | Refusal]]:
        """Yield the tickers of some markets, one answer after the other."""


@dataclass(frozen=True, slots=True)
class Poller:
    """Asks for what the WebSocket does not bring."""

    source: TickerSource
    intake: TickerIntake
    collector: Collector
    poll_s: float
    clock: Clock

    async def run(self) -> None:
        """Take a snapshot, then poll while the WebSocket is down, until cancelled."""
        started = False
        while True:
            if not started:
                started = await self._round()
            elif self._needed() and await self._round():
                self.collector.gaps.note(f"polled over REST every {self.poll_s:g} s meanwhile")
            await asyncio.sleep(self.poll_s)

    def _needed(self) -> bool:
        return self.collector.gaps.feed is not None and not self.collector.paused

    async def _round(self) -> bool:
        """Ask for all markets once; say whether every answer came."""
        markets = self.collector.subscriptions.wanted
        try:
            async for events in self.source.tickers(markets):
                self.intake.take_answer(iter(events), self.clock.now())
        except (FeedUnavailable, FeedRefused) as error:
            log.warning("%s: %s", self.intake.desk.origin.name, error)
            return False
        return bool(markets)
