"""Where a notebook's rows come from: the port that the stores and the API both fill."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from ray_pipeline.feeds.feed import Feed
from ray_pipeline.notebook.frames import Row


@dataclass(frozen=True, slots=True)
class Page:
    """Some rows, and the place behind them: None where nothing follows."""

    rows: Sequence[Row]
    next: object | None


@dataclass(frozen=True, slots=True)
class Reading:
    """
    Which page of a symbol's records or bars.

    Attributes:
        after: A time, or the `next` of an earlier page: rows are from behind it. None: from the
            end that comes first.
        newest_first: The order.
    """

    symbol: str
    after: datetime | object | None
    limit: int
    newest_first: bool


class Source(Protocol):
    """
    What the frames are made of. Any method raises Unavailable where nothing answers.

    Attributes:
        simulated: What is not real, empty where everything is or where that is unknown.
    """

    simulated: tuple[str, ...]

    async def open(self) -> str:
        """Check that something answers, and return in a few words what it is."""

    async def close(self) -> None:
        """Close the connections."""

    async def symbols(self, spec: Feed) -> list[str]:
        """Return the symbols of which there is a value, in order."""

    async def latest(self, spec: Feed, symbols: Sequence[str]) -> list[Row]:
        """Return latest values; symbols without one are left out."""

    async def history(self, spec: Feed, reading: Reading) -> Page:
        """Return a page of records."""

    async def bars(self, spec: Feed, reading: Reading, *, interval: str) -> Page:
        """Return a page of bars."""

    async def gaps(self, feed: str | None, *, after: object | None, limit: int) -> Page:
        """Return a page of gaps, the newest first."""

    async def jobs(self) -> list[Row]:
        """Return every batch dataset, with its newest run as `last`."""

    async def runs(self, job: str | None, *, limit: int) -> list[Row]:
        """Return the newest runs."""

    async def quotas(self) -> list[Row]:
        """Return every window of every key."""

    async def status(self) -> Mapping[str, Sequence[Row]]:
        """Return the tables of the status page, by name."""
