"""Numbers that have not arrived. A missing range becomes a gap once it has outlived its grace."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ray_pipeline.stream.batch import ShardEpoch
from ray_pipeline.stream.sequence import Range, RangeSet


@dataclass(frozen=True, slots=True)
class MissingRange:
    """Numbers of one epoch that did not arrive: `first` up to and including `last`."""

    shard: int
    epoch: int
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class SequenceNumbers:
    """
    The numbers of a feed that the database holds, by (shard, epoch).

    Attributes:
        seen: Numbers that arrived.
        lost: Missing numbers that are already written as gaps.
        published: The highest number that the producer had acknowledged by the broker.
    """

    seen: Mapping[ShardEpoch, RangeSet]
    lost: Mapping[ShardEpoch, RangeSet]
    published: Mapping[ShardEpoch, int]


def missing(numbers: SequenceNumbers) -> list[MissingRange]:
    """
    Return the ranges that were numbered and did not arrive, without those already known as lost.

    A number exists if a higher one arrived, or if its producer reports that the broker has it.
    """
    missing_ranges: list[MissingRange] = []
    for shard_epoch in sorted(numbers.seen.keys() | numbers.published.keys()):
        seen, lost = numbers.seen.get(shard_epoch, ()), numbers.lost.get(shard_epoch, ())
        arrived = RangeSet([*seen, *lost])
        end = numbers.published.get(shard_epoch, 0) + 1
        ranges: list[Range] = list(arrived.missing())
        if end > arrived.upper:
            ranges.append((arrived.upper, end))
        missing_ranges += [MissingRange(*shard_epoch, start, stop - 1) for start, stop in ranges]
    return missing_ranges


class MissingRangeWatch:
    """
    Missing ranges that are still waited for.

    A range that shrinks, because some of its numbers arrived, is a new range with a new grace.
    """

    def __init__(self, *, grace_s: float) -> None:
        self._grace_s = grace_s
        self._since_s: dict[MissingRange, float] = {}

    def restart(self) -> None:
        """Begin the grace of every range again."""
        self._since_s.clear()

    def expired(
        self, ranges: Iterable[MissingRange], *, now_s: float, settled_until_s: float
    ) -> list[MissingRange]:
        """
        Return the ranges that were still missing at the end of their grace.

        Args:
            ranges: The ranges that are missing now.
            now_s: The time at which a range of which nothing was known begins its grace.
            settled_until_s: The time up to which everything that the broker held is stored.
        """
        self._since_s = {item: self._since_s.get(item, now_s) for item in ranges}
        return [
            item
            for item, since_s in self._since_s.items()
            if settled_until_s - since_s >= self._grace_s
        ]
