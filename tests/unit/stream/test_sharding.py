"""The rule by which symbols get their shards."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from ray_pipeline.stream.sharding import assign

SYMBOLS = st.lists(st.sampled_from([f"S{n}" for n in range(30)]), unique=True, max_size=30)
SHARDS = st.integers(1, 5)
CAPACITY = st.integers(1, 6)


@given(before=SYMBOLS, after=SYMBOLS, shards=SHARDS, capacity=CAPACITY)
def test_who_stays_does_not_move(before, after, shards, capacity):
    """However the list changes, a symbol that has a place keeps it."""
    first = assign({}, before, shards=shards, capacity=capacity)

    second = assign(first.shards, after, shards=shards, capacity=capacity)

    for symbol in set(first.shards) & set(after):
        assert second.shards[symbol] == first.shards[symbol]


@given(before=SYMBOLS, after=SYMBOLS, shards=SHARDS, capacity=CAPACITY)
def test_everybody_is_placed_while_there_is_room(before, after, shards, capacity):
    """No shard is overfull, nobody is in two, and only a full house turns anybody away."""
    first = assign({}, before, shards=shards, capacity=capacity)
    second = assign(first.shards, after, shards=shards, capacity=capacity)

    assert all(count <= capacity for count in Counter(second.shards.values()).values())
    assert set(second.shards.values()) <= set(range(1, shards + 1))
    assert sorted([*second.shards, *second.uncovered]) == sorted(after)
    assert len(second.uncovered) == max(0, len(after) - shards * capacity)


@given(symbols=SYMBOLS, shards=SHARDS, capacity=CAPACITY)
def test_the_same_list_again_changes_nothing(symbols, shards, capacity):
    first = assign({}, symbols, shards=shards, capacity=capacity)

    assert assign(first.shards, symbols, shards=shards, capacity=capacity) == first


def test_newcomers_go_where_most_room_is():
    """The lowest number of several."""
    existing = {"A": 1, "B": 1, "C": 2, "D": 3}

    assignment = assign(existing, ["A", "B", "C", "D", "E", "F"], shards=3, capacity=5)

    assert assignment.shards["E"] == 2
    assert assignment.shards["F"] == 3


def test_a_leaver_frees_its_place():
    existing = {"A": 1, "B": 1}

    assert assign(existing, ["B", "C"], shards=1, capacity=2).of(1) == ("B", "C")


def test_a_shard_that_is_gone_gives_its_symbols_to_others():
    assert assign({"A": 4}, ["A"], shards=2, capacity=2).shards == {"A": 1}
