"""What a supervisor starts, retires and restarts in a round."""

import pytest

from ray_pipeline.actors.desired import Desired
from ray_pipeline.actors.generations import Outdated
from ray_pipeline.actors.reconcile import (
    STOPPED_S,
    UNRESPONSIVE_S,
    StallClock,
    actors_to_start,
    is_up,
    retirement,
)

FIRST, SECOND, THIRD = (Desired("producer", f"producer-{name}-g2", ()) for name in "abc")
OLD_FIRST, OLD_SECOND = (
    Outdated(f"producer-{name}-g1", "producer", new) for name, new in (("a", FIRST), ("b", SECOND))
)
UNREACHABLE = {"state": "unreachable"}


def start(living, replaced=()):
    return actors_to_start([FIRST, SECOND, THIRD], living, replaced=replaced)


def test_everything_that_is_missing_starts():
    """In the given order."""
    assert start(set()) == [FIRST, SECOND, THIRD]
    assert start({FIRST.name, THIRD.name}) == [SECOND]


def test_one_successor_starts_at_a_time():
    """New actors need not wait for the handovers."""
    replaced = [OLD_FIRST, OLD_SECOND]

    assert start(set(), replaced) == [THIRD, FIRST]
    assert start({FIRST.name}, replaced) == [THIRD]


@pytest.mark.parametrize(
    ("status", "decision"),
    [
        (None, "wait"),
        (UNREACHABLE, "wait"),
        ({"state": "waiting", "valid": False}, "if_idle"),
        ({"state": "streaming", "valid": True}, "now"),
    ],
)
def test_an_old_actor_goes_when_its_successor_is_at_work(status, decision):
    """Before that, only if it has nothing to hand over."""
    assert retirement(OLD_FIRST, {FIRST.name: status}) == decision


def test_an_old_actor_without_a_successor_goes_now():
    """So does one that cannot live beside its successor."""
    archiver = Desired("archiver", "archiver-g2", ())

    assert retirement(Outdated("producer-z-g1", "producer", None), {}) == "now"
    assert retirement(Outdated("archiver-g1", "archiver", archiver), {}) == "now"


@pytest.mark.parametrize(
    ("status", "limit_s", "reason"),
    [
        (UNREACHABLE, UNRESPONSIVE_S, "is unresponsive"),
        ({"state": "stopped"}, STOPPED_S, "is stopped"),
    ],
)
def test_an_actor_that_does_no_work_is_restarted_after_a_while(status, limit_s, reason):
    """And gets the same time again after its restart."""
    stalls = StallClock()

    assert stalls.restart_reason("a", status, now_s=100.0) == ""
    assert stalls.restart_reason("a", status, now_s=100.0 + limit_s - 0.1) == ""
    assert stalls.restart_reason("a", status, now_s=100.0 + limit_s) == reason
    assert stalls.restart_reason("a", status, now_s=100.0 + limit_s) == ""


def test_an_actor_that_recovers_starts_from_zero():
    """Two short stalls are not one long stall."""
    stalls = StallClock()
    stalls.restart_reason("a", UNREACHABLE, now_s=0.0)
    stalls.restart_reason("a", {"state": "streaming"}, now_s=20.0)

    assert stalls.restart_reason("a", UNREACHABLE, now_s=40.0) == ""


@pytest.mark.parametrize(
    ("status", "up"), [(None, False), (UNREACHABLE, False), ({"pid": 1}, True), ("up", False)]
)
def test_an_actor_is_up_if_the_status_is_its_own(status, up):
    """Whatever its state."""
    assert is_up(status) is up
