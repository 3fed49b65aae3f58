"""How a run ended: a typed state, so that a refusal is never reported as success."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from ray_pipeline.batch.results import RowCounts

RunState = Literal["succeeded", "nothing_new", "deferred", "failed", "refused"]


@dataclass(slots=True)
class Outcome:
    """
    The result of a run.

    Attributes:
        state: succeeded: rows are new or changed. nothing_new: every item was collected, and no row
            changed. deferred: a quota is used up, and the run continues at `not_before`. failed:
            an item is missing. refused: the provider refused every request, or no key is set.
        why: One sentence for people; empty if the state needs no explanation.
    """

    state: RunState = "nothing_new"
    why: str = ""
    not_before: datetime | None = None
    items: int = 0
    items_done: int = 0
    items_failed: int = 0
    calls: int = 0
    counts: RowCounts = field(default_factory=RowCounts)
    sources: list[str] = field(default_factory=list)

    def as_json(self) -> dict[str, object]:
        """Return the fields as JSON shows them."""
        return {
            "state": self.state,
            "why": self.why,
            "not_before": self.not_before,
            "items": self.items,
            "items_done": self.items_done,
            "items_failed": self.items_failed,
            "calls": self.calls,
            "rows_seen": self.counts.seen,
            "rows_new": self.counts.new,
            "rows_changed": self.counts.changed,
            "rows_parked": self.counts.parked,
            "sources": self.sources,
        }


def judge(outcome: Outcome, *, sweep: bool, refusals: list[str], failures: list[str]) -> None:
    """Set the state and the reason of a run that was not deferred."""
    problems = refusals + failures
    if problems and outcome.items:
        outcome.why = f"{len(problems)} of {outcome.items} items failed: {problems[0]}"
    elif problems:
        outcome.why = problems[0]
    if problems and outcome.items_done == 0:
        outcome.state = "refused" if refusals else "failed"
    elif problems and (not sweep or len(problems) > outcome.items_done):
        # The next run of a sweep takes a few failed items; the next slot of another job does not.
        outcome.state = "failed"
    elif outcome.counts.new + outcome.counts.changed > 0:
        outcome.state = "succeeded"
    elif outcome.counts.parked and outcome.counts.seen == outcome.counts.parked:
        outcome.state, outcome.why = "failed", "no row could be stored; see `ray-pipeline dlq list`"
    else:
        outcome.state = "nothing_new"
