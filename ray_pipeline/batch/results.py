"""The result of one call, on its way from the provider to the tables."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from ray_pipeline.batch.progress import ItemState
from ray_pipeline.jobs.spec import Request, Unparsed

# What failed: the provider or the network; the provider refused; the answer cannot be used.
Fault = Literal["", "provider", "refusal", "answer"]


@dataclass(slots=True)
class RowCounts:
    """How many rows were parsed, inserted, updated, and stored as dead letters."""

    seen: int = 0
    new: int = 0
    changed: int = 0
    parked: int = 0

    def add(self, other: "RowCounts") -> None:
        """Add the counts of another transaction."""
        self.seen += other.seen
        self.new += other.new
        self.changed += other.changed
        self.parked += other.parked


@dataclass(frozen=True, slots=True)
class Collected:
    """
    The result of one request.

    Attributes:
        request: The request.
        state: The new state of the request's item.
        rows: Rows of the job's tables.
        bad: Parts of the answer that cannot be read.
        text: The answer; it is stored only if a part of it cannot be read or stored.
        received_at: When the answer was complete.
        next: The request of the item's next page, None after the last page.
        not_before: When an item that the provider does not know is requested again.
        why: Why the item failed, or why it has no rows.
        fault: What failed; empty unless the state is failed.
        lacks_data: Whether the answer lacks data that most answers have; another source may have
            it. A run of such answers alone is refused.
    """

    request: Request
    state: ItemState
    rows: tuple[object, ...] = ()
    bad: tuple[Unparsed, ...] = ()
    text: str = ""
    received_at: datetime | None = None
    next: Request | None = None
    not_before: datetime | None = None
    why: str = ""
    fault: Fault = ""
    lacks_data: bool = False

    @property
    def is_refusal(self) -> bool:
        """Whether the item failed because the provider refused the request."""
        return self.fault == "refusal"


@dataclass(frozen=True, slots=True)
class Saved:
    """
    What a transaction stored.

    Attributes:
        results: The results, with their final states: an item fails if Postgres refuses its rows.
        counts: The rows.
    """

    results: tuple[Collected, ...]
    counts: RowCounts
