"""What a list had when it was last read whole, so that `prune` can find what has left it."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from ray_pipeline.jobs.spec import Run
from ray_pipeline.jobs.table import Table


@dataclass(frozen=True, slots=True)
class Listing:
    """The newest whole answer of a job, by its items' keys."""

    job: str
    slot: datetime
    items: list[str]


LISTINGS = Table("listings", Listing, key=("job",))


def listing(run: Run, items: Iterable[str]) -> Listing:
    """Return the listing of a run; the order and repetitions of an answer mean nothing."""
    return Listing(run.job, run.slot, sorted(set(items)))
