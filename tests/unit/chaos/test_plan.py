"""The plan of a chaos run."""

from tests.chaos.plan import FaultKind, make_plan


async def kill(_stack, _target, _lasts_s):
    """Do nothing."""


async def freeze(_stack, _target, _lasts_s):
    """Do nothing."""


async def reset(_stack, _target, _lasts_s):
    """Do nothing."""


KINDS = (
    FaultKind(kill, ("a", "b")),
    FaultKind(freeze, ("a",), 1, 5, weight=9),
    FaultKind(reset, ("link",), 0.5, 0.5),
)


def test_a_seed_repeats_its_plan():
    """The same faults at the same times."""
    assert make_plan(KINDS, count=50, seconds=60, seed=7) == make_plan(
        KINDS, count=50, seconds=60, seed=7
    )
    assert make_plan(KINDS, count=50, seconds=60, seed=7) != make_plan(
        KINDS, count=50, seconds=60, seed=8
    )


def test_every_kind_comes_if_there_is_room():
    """Three kinds in three faults, in the order of their times, each for its time."""
    plan = make_plan(KINDS, count=3, seconds=60, seed=1)

    assert {fault.kind.name for fault in plan} == {"kill", "freeze", "reset"}
    assert [fault.at_s for fault in plan] == sorted(fault.at_s for fault in plan)
    assert all(5 <= fault.at_s <= 60 for fault in plan)
    assert {fault.lasts_s for fault in plan if fault.kind.name == "reset"} == {0.5}
