"""A number is lost when it existed, did not come, and had its time."""

from ray_pipeline.stream.missing import (
    MissingRange,
    MissingRangeWatch,
    SequenceNumbers,
    missing,
)
from ray_pipeline.stream.sequence import RangeSet


def test_a_hole_and_an_acknowledged_tail_are_missing():
    """Both existed: one because a higher number came, one because the broker had it."""
    seen = {(1, 7): RangeSet([(1, 5), (8, 10)])}

    ranges = missing(SequenceNumbers(seen=seen, lost={}, published={(1, 7): 11, (2, 3): 2}))

    assert ranges == [
        MissingRange(1, 7, 5, 7),
        MissingRange(1, 7, 10, 11),
        MissingRange(2, 3, 1, 2),
    ]


def test_what_is_known_to_be_lost_is_not_missing_again():
    """One loss, one row in gaps."""
    seen = {(1, 7): RangeSet([(1, 5), (8, 10)])}

    assert missing(SequenceNumbers(seen, {(1, 7): RangeSet([(5, 8)])}, {})) == []


def test_a_hole_expires_only_after_its_whole_grace():
    """One that shrinks is another hole: something is still coming."""
    watch = MissingRangeWatch(grace_s=10)
    old, smaller = MissingRange(1, 1, 5, 9), MissingRange(1, 1, 7, 9)

    assert watch.expired([old], now_s=0, settled_until_s=0) == []
    assert watch.expired([smaller], now_s=9, settled_until_s=9) == []
    assert watch.expired([smaller], now_s=18, settled_until_s=18) == []
    assert watch.expired([smaller], now_s=19, settled_until_s=19) == [smaller]
