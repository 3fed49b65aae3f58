"""The port through which the producer hands its records to an outbox."""

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from ray_pipeline.feeds.records import Record


@dataclass(frozen=True, slots=True)
class OutboxStatus:
    """
    Where an outbox stands.

    Attributes:
        published: Highest number the broker has acknowledged, with all before it.
        pending: Records in memory, not yet acknowledged.
        spooled: Records on disk, not yet acknowledged.
        safe_at: Everything received before this moment is acknowledged; None before the first.
        cause: Why records are waiting, empty where they are not.
    """

    published: int
    pending: int
    spooled: int
    safe_at: datetime | None
    cause: str = ""


class Outbox(Protocol):
    """Takes records in order and gets every one of them to the broker, whatever happens to it."""

    @property
    def epoch(self) -> int:
        """The epoch of the lease under which the records are numbered."""

    def next_seq(self) -> int:
        """Return the number that the next record must carry."""

    def put(self, key: str, record: Record, *, received_at: datetime) -> None:
        """Take one record. It never blocks; it carries this outbox's epoch and `next_seq()`."""

    def status(self) -> OutboxStatus:
        """Return where it stands."""
