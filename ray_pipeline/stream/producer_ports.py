"""The parts of a producer: its identity, its outbox, its collector and its symbols."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from ray_pipeline.lease import Ownership
from ray_pipeline.retry import Backoff
from ray_pipeline.stream.connection_ports import Clock
from ray_pipeline.stream.heartbeat import BeatStore
from ray_pipeline.stream.ingest import NoticeWriter
from ray_pipeline.stream.outbox_port import OutboxPort
from ray_pipeline.stream.polling import Poller
from ray_pipeline.stream.venue_connection import Collector

Symbols = Mapping[str, str | None]
"""Symbols in order, each with its category if the feed has categories."""


class RunnableOutbox(OutboxPort, Protocol):
    """An outbox with a task that publishes; see `stream.outbox.Publisher`."""

    async def run(self, stop: asyncio.Event) -> None:
        """Publish records until `stop` is set."""

    async def drain(self, timeout_s: float) -> object:
        """Wait until every record is acknowledged, or kept on disk."""


class SymbolUpdates(Protocol):
    """The source of the symbols."""

    @property
    def cause(self) -> str:
        """Why they could not be read at the newest attempt; empty if they were."""

    def updates(self) -> AsyncIterator[Symbols]:
        """Yield the symbols, and again whenever they change. An outage is waited out."""


@dataclass(frozen=True, slots=True)
class Identity:
    """The identity of a producer."""

    feed: str
    shard: int
    holder: str

    @property
    def name(self) -> str:
        """The name in tables and logs."""
        return f"{self.feed}-{self.shard:02d}"


@dataclass(frozen=True, slots=True)
class Line:
    """A collector, and a poller if the venue has a REST API for records."""

    collector: Collector
    poller: Poller | None = None


@dataclass(frozen=True, slots=True)
class Parts:
    """
    The parts of a producer.

    Attributes:
        outbox: Makes the outbox of an epoch. It publishes only while the gate returns true.
        line: Makes the collector that fills the outbox; None if a setting is missing.
        close: Closes the connections that the parts share.
        let_go: Releases the files that only one process may hold. A successor on the same machine
            waits for them.
        missing: The missing setting, and how to add it.
    """

    ownership: Ownership
    beats: BeatStore
    symbols: SymbolUpdates
    outbox: Callable[[int, Callable[[], bool]], RunnableOutbox]
    line: Callable[[NoticeWriter], Line] | None
    clock: Clock
    backoff: Backoff
    drain_s: float
    close: Callable[[], Awaitable[None]]
    let_go: Callable[[], None]
    missing: str = ""
