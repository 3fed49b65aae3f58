"""The heartbeat of a producer: its state, once a second, in `producer_epochs`."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from ray_pipeline.errors import DatabaseUnavailable

log = logging.getLogger(__name__)

BEAT_S = 1.0
CLOCK_TOLERANCE_S = 2.0


@dataclass(frozen=True, slots=True)
class Beat:
    """One row of `producer_epochs`; the fields are its columns."""

    feed: str
    shard: int
    epoch: int
    holder: str
    published: int
    spooled: int
    connected: bool
    state: str
    cause: str
    wanted: int
    confirmed: int
    received: int
    reconnects: int
    last_data_at: datetime | None
    safe_at: datetime | None
    stopped_at: datetime | None = None


class BeatStore(Protocol):
    """The store of the heartbeats."""

    @property
    def clock_ahead_s(self) -> float:
        """How far this machine's clock is ahead of the store's, as of the newest write."""

    async def write(self, beat: Beat) -> None:
        """Insert or replace the row of an epoch; DatabaseUnavailable when Postgres is away."""

    async def last_safe_at(self, feed: str, shard: int, *, before_epoch: int) -> datetime | None:
        """Return until when the previous epoch is complete; None for the first epoch."""


def clock_trouble(ahead_s: float) -> str:
    """Return what a wrong clock of this machine causes, and the fix; empty if it is right."""
    if abs(ahead_s) <= CLOCK_TOLERANCE_S:
        return ""
    direction, effect = (
        ("ahead of", "times of receipt are wrong")
        if ahead_s > 0
        else ("behind", "new records seem to come from the future and can become dead letters")
    )
    return (
        f"the clock of this machine is {abs(ahead_s):.0f} s {direction} the database's: {effect}; "
        "synchronise the clocks (NTP, chrony)"
    )


async def beat(store: BeatStore, compose: Callable[[], Beat]) -> None:
    """Write a heartbeat every second until cancelled. During an outage heartbeats are skipped."""
    away = False
    while True:
        try:
            await store.write(compose())
            away = False
        except DatabaseUnavailable as error:
            if not away:
                log.warning("heartbeats are skipped: %s", error)
            away = True
        await asyncio.sleep(BEAT_S)
