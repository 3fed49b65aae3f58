"""The rate and the lag of each feed over the last hour."""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence

from ray_pipeline.errors import PipelineError
from ray_pipeline.observe.status import FeedRow, with_rates

log = logging.getLogger(__name__)

PERIOD_S = 5.0
MAX_SAMPLES = 720  # an hour

Read = Callable[[], Awaitable[Sequence[FeedRow]]]


class ThroughputHistory:
    """
    Samples the feeds at a fixed period and keeps the samples of the last hour.

    The history is in memory: each API process has its own, which a restart empties.
    """

    def __init__(self, read: Read) -> None:
        self._read = read
        self._points: deque[dict[str, object]] = deque(maxlen=MAX_SAMPLES)
        self._before: Sequence[FeedRow] = ()

    def points(self) -> list[dict[str, object]]:
        """Return the samples, oldest first; there are none of a time without Postgres."""
        return list(self._points)

    def rates(self) -> dict[str, float | None]:
        """Return each feed's records per second between the last two samples."""
        return {row.feed: row.records_per_s for row in self._before}

    async def run(self, *, period_s: float = PERIOD_S) -> None:
        """Take a sample every period until cancelled; a sample that fails is left out."""
        while True:
            try:
                self.add(await self._read())
            except PipelineError as error:
                log.debug("no sample: %s", error)
            except Exception:
                # For example a row that cannot be read: the next sample may succeed.
                log.exception("no sample")
            await asyncio.sleep(period_s)

    def add(self, rows: Sequence[FeedRow]) -> None:
        """Add a sample. The first one has no predecessor and so no rate: it is not kept."""
        rated = with_rates(self._before, rows)
        # Postgres' clock, as for the rates: the clocks of two replicas may differ.
        if self._before and rows:
            feeds = {
                row.feed: {
                    "records_per_s": row.records_per_s,
                    "lag": row.lag,
                    "last_record_age_s": row.last_record_age_s,
                }
                for row in rated
            }
            self._points.append({"at_s": rows[0].sampled_at_s, "feeds": feeds})
        self._before = rated
