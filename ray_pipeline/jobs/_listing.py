"""The items of a list when it was last read completely; `prune` removes rows that are not in it."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from ray_pipeline.jobs.spec import Run
from ray_pipeline.jobs.table import Table


@dataclass(frozen=True, slots=True)
class Listing:
    """The keys in the newest complete answer of a job."""

    job: str
    slot: datetime
    items: list[str]


LISTINGS = Table("listings", Listing, key=("job",))


def listing(run: Run, items: Iterable[str]) -> Listing:
    """Return the listing of a run, sorted and without repetitions."""
    return Listing(run.job, run.slot, sorted(set(items)))
