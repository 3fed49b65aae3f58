"""Which items a run requests, and in which order."""

from datetime import timedelta

import pytest

from ray_pipeline.batch.progress import EPOCH, ItemProgress, cycle_of, pending, waiting
from ray_pipeline.errors import PipelineError
from ray_pipeline.jobs.spec import Request
from tests.batch_runs import NOW, job, source

DAY = timedelta(days=1)
ORDINARY = job(source("first"))
SWEEP = job(source("first"), refresh=7 * DAY)
REQUESTS = [Request(item, f"/{item}") for item in "ABCDE"]


def done(days_ago: int) -> ItemProgress:
    return ItemProgress("done", done_at=NOW - days_ago * DAY)


def items(spec, progress) -> str:
    return "".join(request.item for request in pending(spec, REQUESTS, progress, now=NOW))


def test_an_ordinary_job_requests_what_its_slot_has_not_collected():
    progress = {"A": done(1), "B": ItemProgress("failed"), "C": ItemProgress("empty", done_at=NOW)}

    assert items(ORDINARY, progress) == "BDE"


def test_a_sweep_continues_then_takes_new_items_then_the_oldest():
    progress = {
        "A": done(10),
        "B": done(30),
        "C": done(3),  # collected within a week
        "E": ItemProgress("paging", next=Request("E", "/E", page=2)),
    }

    assert items(SWEEP, progress) == "EDBA"


def test_a_failed_item_goes_to_the_end_of_the_sweep():
    """Otherwise items that cannot be read would keep all others from being requested."""
    failed = ItemProgress("failed", attempts=1, tried_at=NOW - DAY)
    progress = {"A": failed, "B": failed, "C": done(10), "D": done(8)}

    assert items(SWEEP, progress) == "ECDAB"


def test_a_failed_item_is_not_starved_by_items_that_are_due_again():
    progress = {
        "A": ItemProgress("failed", attempts=1, tried_at=NOW - 9 * DAY),
        **{item: done(8) for item in "BCDE"},
    }

    assert items(SWEEP, progress) == "ABCDE"


def test_a_failed_item_waits_for_its_time():
    early = ItemProgress("failed", attempts=2, not_before=NOW + DAY, tried_at=NOW)
    late = ItemProgress("failed", attempts=2, not_before=NOW - DAY, tried_at=NOW)
    progress = {"A": early, "B": late}

    assert items(SWEEP, progress) == "CDEB"
    assert waiting(progress, now=NOW) == [early]


def test_a_sweep_takes_as_many_items_as_its_batch():
    assert items(job(source("first"), refresh=DAY, batch=2), {"A": done(2)}) == "BC"


def test_an_interrupted_item_continues_with_its_next_page():
    page = Request("A", "/A", page=3)

    first, *_ = pending(ORDINARY, REQUESTS, {"A": ItemProgress("paging", next=page)}, now=NOW)

    assert first is page


@pytest.mark.parametrize(("hours", "requested"), [(1, False), (-1, True)])
def test_an_unknown_item_waits_for_its_time(hours, requested):
    until = NOW + timedelta(hours=hours)
    progress = {"A": ItemProgress("not_found", not_before=until)}

    assert ("A" in items(ORDINARY, progress)) is requested


def test_a_plan_that_names_an_item_twice_is_an_error():
    with pytest.raises(PipelineError, match="names 'A' twice"):
        pending(ORDINARY, [REQUESTS[0], REQUESTS[0]], {}, now=NOW)


def test_a_sweep_has_one_cycle_and_other_jobs_one_for_each_slot():
    assert cycle_of(SWEEP, NOW) == cycle_of(SWEEP, NOW + DAY) == EPOCH
    assert cycle_of(ORDINARY, NOW) == NOW
