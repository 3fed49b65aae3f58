"""The port to the rows of a notebook, which the stores and the API implement."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from ray_pipeline.feeds.feed import FeedSpec
from ray_pipeline.notebook.frames import Row
from ray_pipeline.storage.postgres.pages import Page, PageRequest


class RowSource(Protocol):
    """
    A source of rows. Every method raises Unavailable if the source does not answer.

    Attributes:
        simulated: The simulated providers; empty if all data is real, or if that is unknown.
    """

    simulated: tuple[str, ...]

    async def open(self) -> str:
        """Check that the source answers, and return a short description of it."""

    async def close(self) -> None:
        """Close the connections."""

    async def symbols(self, spec: FeedSpec) -> list[str]:
        """Return the symbols that have a value, in order."""

    async def latest(self, spec: FeedSpec, symbols: Sequence[str]) -> list[Row]:
        """Return latest values; symbols without a value are left out."""

    async def history(self, spec: FeedSpec, request: PageRequest) -> Page:
        """Return a page of records."""

    async def bars(self, spec: FeedSpec, request: PageRequest, *, interval: str) -> Page:
        """Return a page of bars."""

    async def gaps(self, feed: str | None, *, after: object | None, limit: int) -> Page:
        """Return a page of gaps, newest first."""

    async def jobs(self) -> list[Row]:
        """Return every batch dataset, with its newest run as `last`."""

    async def runs(self, job: str | None, *, limit: int) -> list[Row]:
        """Return the newest runs."""

    async def quotas(self) -> list[Row]:
        """Return every window of every key."""

    async def status(self) -> Mapping[str, Sequence[Row]]:
        """Return the tables of the status page, by name."""
