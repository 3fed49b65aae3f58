"""The check of slots: a slot that is missing, unfinished or doubled is found."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tests.chaos.slots import (
    EVERY_MINUTE,
    RETRIES,
    SlotRun,
    Start,
    doubled,
    due,
    read_starts,
    scheduled_jobs,
    unfinished,
)

NOON = datetime(2026, 11, 2, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
UNTIL = NOON + 2.5 * MINUTE
NOW = UNTIL + MINUTE


def all_runs() -> list[SlotRun]:
    """Return a run that succeeded for each slot that was due."""
    runs = []
    for spec in scheduled_jobs():
        minutely = spec.name in EVERY_MINUTE
        latest = spec.schedule.latest(UNTIL)
        assert latest is not None
        slots = [NOON + number * MINUTE for number in range(3)] if minutely else [latest]
        runs += [SlotRun(spec.name, slot, "succeeded", 1, "", None) for slot in slots]
    return runs


def changed(**changes: object) -> list[SlotRun]:
    """Return the runs of all slots; the newest one of a minutely job is changed."""
    runs = all_runs()
    position = max(index for index, run in enumerate(runs) if run.job == EVERY_MINUTE[0])
    runs[position] = replace(runs[position], **changes)
    return runs


def test_each_slot_with_a_run_that_ended_is_in_order():
    """Each minute of a job that makes up for missed slots; the latest slot of the others."""
    assert unfinished(all_runs(), until=UNTIL, now=NOW) == []
    assert len(due(all_runs(), until=UNTIL)[EVERY_MINUTE[0]]) == 3


def test_a_slot_without_a_run_is_found():
    """Also one in the middle."""
    runs = [run for run in all_runs() if (run.job, run.slot) != (EVERY_MINUTE[1], NOON + MINUTE)]

    assert unfinished(runs, until=UNTIL, now=NOW) == [f"{EVERY_MINUTE[1]} 12:01 has no run"]


def test_a_run_that_has_not_ended_is_found():
    """A refusal needs a reason, and a run that will be tried again has not ended."""
    for state, attempt, why, not_before in (
        ("running", 1, "", None),
        ("claimed", 2, "", None),
        ("refused", 1, "", None),
        ("failed", RETRIES, "cut off", None),
        ("deferred", 1, "quota", NOW - MINUTE),
    ):
        runs = changed(state=state, attempt=attempt, why=why, not_before=not_before)
        assert len(unfinished(runs, until=UNTIL, now=NOW)) == 1, state


def test_a_refusal_with_a_reason_has_ended():
    """So has a run that failed as often as it may, and one that waits for a quota."""
    for state, attempt, why, not_before in (
        ("refused", 1, "no key", None),
        ("failed", RETRIES + 1, "cut off", None),
        ("deferred", 1, "quota", NOW + MINUTE),
    ):
        runs = changed(state=state, attempt=attempt, why=why, not_before=not_before)
        assert unfinished(runs, until=UNTIL, now=NOW) == [], state


def test_a_later_slot_is_not_waited_for():
    """Every minute another one becomes due."""
    later = SlotRun(EVERY_MINUTE[0], NOON + 3 * MINUTE, "running", 1, "", None)

    assert unfinished([*all_runs(), later], until=UNTIL, now=NOW) == []


def test_a_slot_that_ran_twice_is_found(tmp_path: Path):
    """Started twice as the same attempt, or stored as successful twice."""
    log = tmp_path / "slots.log"
    log.write_text(f"a {NOON.isoformat()} 1\na {NOON.isoformat()} 2\na {NOON.isoformat()} 2\n")
    starts = read_starts(log)

    assert starts[0] == Start("a", NOON, 1)
    assert list(doubled(starts, {("a", NOON): 2, ("b", NOON): 1})) == [
        "a 12:00, attempt 2: started 2 times",
        "a 12:00 succeeded 2 times",
    ]


def test_a_run_has_no_log_before_its_first_start(tmp_path: Path):
    """The schedulers have started nothing yet."""
    assert read_starts(tmp_path / "slots.log") == []
