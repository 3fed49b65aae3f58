"""
Select the items that a run requests: a pure function of the plan and of the stored progress.

Progress is one row for each job, cycle, source and item. An ordinary job has a cycle for each slot,
so that every slot requests every item once, however often the run is interrupted. A sweep has one
endless cycle: each run continues where the last one stopped, and an item is due again after
`refresh`.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from ray_pipeline.errors import PipelineError
from ray_pipeline.jobs.spec import JobSpec, Request

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

ItemState = Literal["paging", "done", "empty", "not_found", "failed"]
FINISHED = frozenset({"done", "empty", "not_found"})


@dataclass(frozen=True, slots=True)
class ItemProgress:
    """
    The stored progress of an item.

    Attributes:
        state: The result of the last request.
        attempts: Failures in a row.
        done_at: When the item was last collected.
        not_before: When an item that failed or is unknown may be requested again.
        next: The next page of an item that is being collected.
        tried_at: When the item was last requested, with whatever result.
    """

    state: ItemState
    attempts: int = 0
    done_at: datetime | None = None
    not_before: datetime | None = None
    next: Request | None = None
    tried_at: datetime | None = None


def cycle_of(spec: JobSpec, slot: datetime) -> datetime:
    """Return the cycle of a run's progress: its slot, or the one cycle of a sweep."""
    return EPOCH if spec.sweep else slot


def pending(
    spec: JobSpec,
    requests: Iterable[Request],
    progress: Mapping[str, ItemProgress],
    *,
    now: datetime,
) -> list[Request]:
    """
    Return the requests to make, in order.

    A sweep continues interrupted items first, then takes new items, then the items that were
    requested longest ago. A failed item is thus at the end of the sweep, and does not keep the
    items behind it from being requested.

    Raises:
        PipelineError: If the plan names an item twice, because progress is kept by item.
    """
    planned: dict[str, Request] = {}
    for request in requests:
        if request.item in planned:
            raise PipelineError(f"job {spec.name}: the plan names {request.item!r} twice")
        planned[request.item] = request
    due = [item for item in planned if _is_due(spec, progress.get(item), now=now)]
    if spec.sweep:
        # The sort is stable: within each group the plan's order, the order of importance, stays.
        due.sort(key=lambda item: _age_order(progress.get(item)))
    return [_resume(planned[item], progress.get(item)) for item in due[: spec.batch]]


def _is_due(spec: JobSpec, item: ItemProgress | None, *, now: datetime) -> bool:
    if item is None or item.state == "paging":
        return True
    if item.not_before is not None and item.not_before > now:
        return False
    if item.state not in FINISHED or item.done_at is None:
        return True
    return spec.refresh is not None and item.done_at <= now - spec.refresh


def waiting(progress: Mapping[str, ItemProgress], *, now: datetime) -> list[ItemProgress]:
    """Return the failed items that are not requested again yet."""
    return [
        item
        for item in progress.values()
        if item.state == "failed" and item.not_before is not None and item.not_before > now
    ]


def _age_order(item: ItemProgress | None) -> tuple[int, datetime]:
    if item is not None and item.state == "paging":
        return 0, EPOCH
    if item is None:
        return 1, EPOCH
    return 2, item.tried_at or item.done_at or EPOCH


def _resume(request: Request, item: ItemProgress | None) -> Request:
    """Return the page that comes after the last stored one, or the item's first request."""
    return item.next if item is not None and item.state == "paging" and item.next else request
