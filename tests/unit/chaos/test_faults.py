"""The kinds of faults of a chaos run."""

from tests.chaos.faults import KINDS, delayed_by, withheld_from
from tests.chaos.plan import PlannedFault


def planned(name: str, target: str) -> PlannedFault:
    """Return a fault of a plan."""
    (kind,) = (kind for kind in KINDS if kind.name == name)
    return PlannedFault(1, 0.0, kind, target, 1.0)


def test_names_are_unique_and_times_in_order():
    """The command line chooses kinds by name."""
    assert len({kind.name for kind in KINDS}) == len(KINDS)
    assert all(kind.targets and kind.shortest_s <= kind.longest_s for kind in KINDS)


def test_only_a_fault_between_the_venue_and_kafka_withholds_records():
    """A gap that is due to another fault would not be true."""
    assert withheld_from(planned("kill", "producer-2")) == {2}
    assert withheld_from(planned("link_stall", "producers-venue")) == {1, 2, 3}
    assert withheld_from(planned("spool_full", "producers-kafka")) == {1, 2, 3}
    for name, target in (
        ("kill", "consumer-a"),
        ("postgres_freeze", "postgres"),
        ("kafka_kill", "kafka"),
        ("link_stall", "producers-kafka"),
    ):
        assert withheld_from(planned(name, target)) == frozenset()


def test_a_fault_of_the_batch_half_delays_no_shard():
    """A consumer delays the shards of its partitions, a store all of them."""
    assert delayed_by(planned("kill", "runs-a")) == frozenset()
    assert delayed_by(planned("link_drop", "runs-postgres")) == frozenset()
    assert delayed_by(planned("kill", "consumer-b")) == {2}
    assert delayed_by(planned("redis_flush", "redis")) == {1, 2, 3}
