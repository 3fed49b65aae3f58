"""How a run is judged: a refusal or a missing item is never success."""

import pytest

from ray_pipeline.batch.outcome import Outcome, judge
from ray_pipeline.batch.results import RowCounts

NEW = RowCounts(seen=3, new=3)
SAME = RowCounts(seen=3)
PARKED = RowCounts(seen=3, parked=3)


@pytest.mark.parametrize(
    ("counts", "done", "sweep", "refusals", "failures", "state"),
    [
        (NEW, 3, False, [], [], "succeeded"),
        (SAME, 3, False, [], [], "nothing_new"),
        (PARKED, 3, False, [], [], "failed"),
        (SAME, 0, False, ["no plan"], [], "refused"),
        (SAME, 0, False, [], ["down"], "failed"),
        (NEW, 2, False, [], ["down"], "failed"),
        (NEW, 2, True, [], ["down"], "succeeded"),  # the sweep's next run takes the item
        (NEW, 1, True, [], ["down", "down"], "failed"),
    ],
)
def test_the_state_of_a_run(counts, done, sweep, refusals, failures, state):
    outcome = Outcome(counts=counts, items=3, items_done=done)

    judge(outcome, sweep=sweep, refusals=refusals, failures=failures)

    assert outcome.state == state
    assert bool(outcome.why) is bool(refusals or failures or counts is PARKED)


def test_the_reason_names_the_first_problem_and_how_many_there_are():
    outcome = Outcome(items=5)

    judge(outcome, sweep=False, refusals=["A: refused: no"], failures=["B: down"])

    assert outcome.why == "2 of 5 items failed: A: refused: no"


def test_an_outcome_is_flat_in_json():
    assert Outcome(counts=NEW, calls=7).as_json()["rows_new"] == 3
