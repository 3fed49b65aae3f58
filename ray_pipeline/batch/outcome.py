"""How a run ended: typed, so that nobody takes a refusal for success."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from ray_pipeline.batch.results import RowCounts

RunState = Literal["succeeded", "nothing_new", "deferred", "failed", "refused"]


@dataclass(slots=True)
class Outcome:
    """
    What a run did, and how it ended.

    Attributes:
        state: succeeded: rows are new or changed. nothing_new: everything was asked, nothing is
            new. deferred: a quota is used up, and the run goes on at `not_before`. failed:
            something that was asked for is missing. refused: the provider would not answer at all.
        why: One sentence for people; empty where the state says it all.
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
        """Return it as JSON has it."""
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
    """Set the state and the reason of a run that came to its end."""
    wrong = refusals + failures
    if wrong:
        outcome.why = f"{len(wrong)} of {outcome.items} items failed: {wrong[0]}"
    if wrong and outcome.items_done == 0:
        outcome.state = "refused" if refusals else "failed"
    elif wrong and (not sweep or len(wrong) > outcome.items_done):
        # A sweep comes back to its few failed items; anything else would lose them.
        outcome.state = "failed"
    elif outcome.counts.new + outcome.counts.changed > 0:
        outcome.state = "succeeded"
    elif outcome.counts.parked and outcome.counts.seen == outcome.counts.parked:
        outcome.state, outcome.why = "failed", "no row could be stored; see `ray-pipeline dlq list`"
    else:
        outcome.state = "nothing_new"
