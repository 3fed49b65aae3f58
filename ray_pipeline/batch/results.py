"""What a call brought, on its way from the provider to the tables."""

from dataclasses import dataclass
from datetime import datetime

from ray_pipeline.batch.progress import ItemState
from ray_pipeline.jobs.spec import Request, Unparsed


@dataclass(slots=True)
class Counts:
    """What storing did."""

    seen: int = 0
    new: int = 0
    changed: int = 0
    parked: int = 0

    def add(self, other: "Counts") -> None:
        """Add another's numbers."""
        self.seen += other.seen
        self.new += other.new
        self.changed += other.changed
        self.parked += other.parked


@dataclass(frozen=True, slots=True)
class Collected:
    """
    What one call brought.

    Attributes:
        request: The call.
        rows: Rows of the job's tables.
        bad: Parts that are no rows.
        state: What becomes of the item.
        text: The answer; it is stored only if a part of it was bad.
        received_at: When it came.
        next: The item's next page, where there is one.
        not_before, why: Of an item that failed.
        calls: How many were made for it, refused ones included.
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
    calls: int = 1
