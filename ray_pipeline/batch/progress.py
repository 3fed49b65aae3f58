"""Which items of a run are still to be asked: a pure function of the plan and of what is stored."""

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
class Item:
    """What is known of an item from runs before."""

    state: ItemState
    attempts: int = 0
    done_at: datetime | None = None
    not_before: datetime | None = None
    next: Request | None = None


def cycle_of(spec: JobSpec, slot: datetime) -> datetime:
    """Return what progress is kept by: the slot, or for a sweep one cycle without an end."""
    return EPOCH if spec.sweep else slot


def pending(
    spec: JobSpec, requests: Iterable[Request], known: Mapping[str, Item], *, now: datetime
) -> list[Request]:
    """
    Return what is to be asked, in order: interrupted items, those never asked, the longest ago.

    Raises:
        PipelineError: If the plan names an item twice: its progress could not be told apart.
    """
    wanted: dict[str, Request] = {}
    for request in requests:
        if request.item in wanted:
            raise PipelineError(f"job {spec.name}: the plan names {request.item!r} twice")
        wanted[request.item] = request
    due = [item for item in wanted if _due(spec, known.get(item), now=now)]
    if spec.sweep:
        due.sort(key=lambda item: _age_order(known.get(item)))
    chosen = due[: spec.batch] if spec.batch else due
    return [_resume(wanted[item], known.get(item)) for item in chosen]


def _due(spec: JobSpec, item: Item | None, *, now: datetime) -> bool:
    if item is None or item.state == "paging":
        return True
    if item.not_before is not None and item.not_before > now:
        return False
    if item.state not in FINISHED or item.done_at is None:
        return True
    return spec.refresh is not None and item.done_at <= now - spec.refresh


def _age_order(item: Item | None) -> tuple[int, datetime]:
    if item is not None and item.state == "paging":
        return 0, EPOCH
    if item is None or item.done_at is None:
        return 1, EPOCH
    return 2, item.done_at


def _resume(request: Request, item: Item | None) -> Request:
    return item.next if item is not None and item.state == "paging" and item.next else request
