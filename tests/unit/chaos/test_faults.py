"""The kinds of faults of a chaos run."""

from tests.chaos.faults import KINDS, delayed_by, withheld_from
from tests.chaos.plan import PlannedFault
from tests.chaos.stack import STREAMS


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
    sp500 = {("sp500", 1), ("sp500", 2), ("sp500", 3)}
    stocks = {("top_gainers", 0), ("etf", 1)}
    crypto = {("bithumb", 0), ("upbit", 0)}
    assert withheld_from(planned("kill", "producer-2")) == {("sp500", 2)}
    assert withheld_from(planned("kill", "producer-stocks")) == stocks
    assert withheld_from(planned("venue_close", "etf-1")) == {("etf", 1)}
    assert withheld_from(planned("link_stall", "producers-finnhub")) == sp500 | stocks
    assert withheld_from(planned("link_stall", "producers-upbit")) == {("upbit", 0)}
    assert withheld_from(planned("kill_while_cut", "producers-upbit")) == crypto
    assert withheld_from(planned("spool_full", "producers-kafka")) == sp500 | stocks | crypto
    for name, target in (
        ("kill", "consumer-a"),
        ("postgres_freeze", "postgres"),
        ("kafka_kill", "kafka"),
        ("link_stall", "producers-kafka"),
    ):
        assert withheld_from(planned(name, target)) == frozenset()


def test_a_fault_of_the_batch_half_delays_no_stream():
    """A consumer delays the streams of its partitions, a store all of them."""
    assert delayed_by(planned("kill", "runs-a")) == frozenset()
    assert delayed_by(planned("link_drop", "runs-postgres")) == frozenset()
    assert delayed_by(planned("kill", "consumer-b")) == {("sp500", 2)}
    assert delayed_by(planned("kill", "consumer-c")) == {
        ("top_gainers", 0), ("etf", 1), ("bithumb", 0), ("upbit", 0),
    }  # fmt: skip
    assert delayed_by(planned("redis_flush", "redis")) == frozenset(STREAMS)
