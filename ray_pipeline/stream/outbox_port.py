"""The port through which the producer hands its records to an outbox."""

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from ray_pipeline.feeds.records import Record


@dataclass(frozen=True, slots=True)
class OutboxStatus:
    """
    The progress of an outbox.

    Attributes:
        published: Highest number up to which the broker has acknowledged all records.
        pending: Records in memory, not yet acknowledged.
        spooled: Records on disk, not yet acknowledged.
        safe_at: Everything received before this moment is acknowledged; None before the first.
        cause: Why records wait; empty while they do not.
    """

    published: int
    pending: int
    spooled: int
    safe_at: datetime | None
    cause: str = ""


class OutboxPort(Protocol):
    """Takes records in order and sends each of them to the broker, through outages of it."""

    @property
    def epoch(self) -> int:
        """The epoch of the lease under which the records are numbered."""

    def next_seq(self) -> int:
        """Return the number that the next record must have."""

    def put(self, key: str, record: Record, *, received_at: datetime) -> None:
        """Take one record with this outbox's epoch and `next_seq()`. It never blocks."""

    def status(self) -> OutboxStatus:
        """Return its progress."""
