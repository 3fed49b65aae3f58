"""What the use cases need of the world. `io` implements these; tests use small fakes."""

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from ray_pipeline.records import Record


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


@dataclass(frozen=True, slots=True)
class Grant:
    """
    Leave to make calls.

    Attributes:
        key: Fingerprint of the key to use; empty where the provider needs none.
        calls: How many.
    """

    key: str
    calls: int = 1


@dataclass(frozen=True, slots=True)
class NotBefore:
    """
    No leave yet.

    Attributes:
        moment: When to ask again, UTC; None when only a person can change it.
        reason: What stands in the way: the name of a window, or why the keys rest.
    """

    moment: datetime | None
    reason: str


class Limiter(Protocol):
    """Counts calls against every quota before they are made. It answers at once."""

    async def acquire(
        self, provider: str, *, job: str, sweep: bool, calls: int = 1
    ) -> Grant | NotBefore:
        """Return leave for up to `calls` calls of one key, counted and committed; or when to ask
        again. They are to be made within the second."""

    async def rest(self, provider: str, key: str, *, until: datetime | None, reason: str) -> None:
        """Leave a key alone until a moment; None: until it is changed."""
