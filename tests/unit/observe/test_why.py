"""Why a dataset is not fresh: one sentence for each way a run can end, with what would help."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from ray_pipeline.catalog import job
from ray_pipeline.observe.freshness import SLOT_GRACE
from ray_pipeline.observe.why import explain

SPEC = job("company_overview")
NOW = datetime(2026, 11, 23, 9, tzinfo=UTC)
KEYS = {"alpha_vantage": 2}


def run(state: str, **facts: object) -> dict[str, object]:
    """A row of the book of runs, of the newest slot that was due."""
    return {
        "slot": SPEC.schedule.latest(NOW),
        "state": state,
        "why": "",
        "finished_at": NOW - timedelta(hours=1),
        "not_before": None,
        "items": 20,
        "items_done": 20,
        "attempt": 1,
    } | facts


def test_a_job_without_a_key_says_where_to_get_one():
    """And what to write where."""
    found = explain(SPEC, None, now=NOW, keys={"alpha_vantage": 0})

    assert not found.fresh
    assert found.sentence == (
        "company_overview is not collected: no key for Alpha Vantage; get one at "
        "https://www.alphavantage.co/support/#api-key and add it to PIPELINE_API_KEYS as "
        '{"alpha_vantage": ["..."]}.'
    )


def test_a_key_of_any_source_is_enough():
    """The macro series need FRED's or Alpha Vantage's."""
    spec = job("cpi")

    for provider in ("fred", "alpha_vantage"):
        assert "no key" not in explain(spec, None, now=NOW, keys={provider: 1}).sentence
    assert "no key for FRED or Alpha Vantage" in explain(spec, None, now=NOW, keys={}).sentence


def test_a_job_that_never_ran_says_when_it_will():
    """Or that nobody will start it."""
    waiting = explain(SPEC, None, now=NOW, keys=KEYS)
    nobody = explain(SPEC, None, now=NOW, keys=KEYS, scheduled=False)
    following = f"{SPEC.schedule.next(NOW):%Y-%m-%d %H:%M} UTC"

    assert not waiting.fresh
    assert waiting.sentence == (
        f"company_overview has never run; next: {following}, or now with "
        "`ray-pipeline run company_overview`."
    )
    assert "no scheduler is at work: start `ray-pipeline up`" in nobody.sentence


def test_a_job_that_runs_on_request_says_so():
    """It is never late."""
    spec = replace(SPEC, manual=True)
    long_ago = run("succeeded", slot=NOW - timedelta(days=90))

    never = explain(spec, None, now=NOW, keys=KEYS)
    once = explain(spec, long_ago, now=NOW, keys=KEYS)

    assert "it runs on request: `ray-pipeline run company_overview`" in never.sentence
    assert once.fresh
    assert once.sentence.endswith("next: on request only.")


@pytest.mark.parametrize(
    ("last", "fresh", "words"),
    [
        (run("succeeded"), True, "is fresh: it succeeded at 2026-11-23 08:00 UTC; next: "),
        (run("nothing_new"), True, "is fresh: it found nothing new at 2026-11-23 08:00 UTC; next"),
        (run("succeeded", why="1 of 20 items failed: X"), True, "(1 of 20 items failed: X)"),
        (run("claimed", items=0), False, "is running now: just begun."),
        (run("running", items_done=7), False, "is running now: 7 of 20 items."),
        (
            run("deferred", why="25/day", not_before=NOW + timedelta(hours=20)),
            False,
            "goes on at 2026-11-24 05:00 UTC: 25/day; another key would let it go on sooner.",
        ),
        (
            run("refused", why="the key is not accepted"),
            False,
            "was refused: the key is not accepted; check the key and the plan, then "
            "`ray-pipeline run company_overview`.",
        ),
        (
            run("failed", why="4 attempts: cut off", attempt=2),
            False,
            "failed (attempt 2): 4 attempts: cut off; it is tried again by itself, or now with "
            f"`ray-pipeline run company_overview --slot {SPEC.schedule.latest(NOW).isoformat()}`.",
        ),
    ],
    ids=lambda value: value["state"] if isinstance(value, dict) else "",
)
def test_each_state_has_its_sentence(last, fresh, words):
    """What it is, why, and what to do."""
    found = explain(SPEC, last, now=NOW, keys=KEYS)

    assert found.fresh is fresh
    assert found.sentence.startswith("company_overview ")
    assert words in found.sentence


@pytest.mark.parametrize(
    ("late", "fresh"), [(-timedelta(seconds=1), True), (SLOT_GRACE * 2, False)]
)
def test_a_slot_that_nobody_ran_is_not_fresh(late, fresh):
    """The run of yesterday was good; today's is missing, and a quarter of an hour is given."""
    due = SPEC.schedule.latest(NOW)
    assert due is not None
    yesterday = SPEC.schedule.latest(due - timedelta(seconds=1))
    last = run("succeeded", slot=yesterday, finished_at=yesterday)

    found = explain(SPEC, last, now=due + SLOT_GRACE + late, keys=KEYS)

    assert found.fresh is fresh
    assert (f"has not run for {due:%Y-%m-%d %H:%M} UTC" in found.sentence) is not fresh


def test_a_run_that_goes_on_is_not_called_missing():
    """A sweep that still runs, or waits for its quota, when the next slot is due."""
    due = SPEC.schedule.latest(NOW)
    assert due is not None
    yesterday = SPEC.schedule.latest(due - timedelta(seconds=1))

    running = explain(SPEC, run("running", slot=yesterday), now=NOW, keys=KEYS)
    deferred = explain(SPEC, run("deferred", slot=yesterday), now=NOW, keys=KEYS)

    assert "is running now" in running.sentence
    assert "goes on at" in deferred.sentence
