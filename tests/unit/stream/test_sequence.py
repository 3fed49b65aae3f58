"""Numbers that arrive: each is new once, and what is missing is known."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from ray_pipeline.stream.sequence import Arrivals, RangeSet, multirange

numbers = st.lists(st.integers(1, 60), max_size=80)


@given(numbers)
def test_a_range_set_holds_exactly_what_was_put_in(put):
    """Ranges are an economy, not an approximation."""
    ranges = RangeSet((number, number + 1) for number in put)

    assert {number for number in range(70) if number in ranges} == set(put)
    assert len(ranges) == len(set(put))
    for (_, end), (start, _) in pairwise(ranges):
        assert end < start


@given(numbers)
def test_holes_are_what_is_missing_below_the_highest(put):
    """Numbering begins at 1."""
    ranges = RangeSet((number, number + 1) for number in put)

    missing = {number for start, end in ranges.missing() for number in range(start, end)}

    assert missing == set(range(1, max(put, default=0) + 1)) - set(put)


@given(st.lists(numbers, max_size=6))
def test_a_number_is_new_exactly_once_however_it_is_cut_into_batches(batches):
    """A repeat is a repeat within a batch, between two, and out of order."""
    arrivals, seen = Arrivals.empty(), set()

    for batch in batches:
        fresh = {number for number in batch if number not in seen}
        taken = [number for number in batch if arrivals.take(number)]
        ranges = arrivals.cut()
        assert sorted(taken) == sorted(fresh)
        assert {n for start, end in ranges for n in range(start, end)} == fresh
        seen |= fresh


def test_a_multirange_is_written_as_postgres_reads_it():
    """Half-open, in braces."""
    assert multirange([(1, 3), (5, 6)]) == "{[1,3),[5,6)}"
    assert multirange([]) == "{}"
