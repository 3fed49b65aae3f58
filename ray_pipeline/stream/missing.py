"""Which numbers will not come any more. A hole is a loss once it has outlived its grace."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ray_pipeline.stream.batch import ShardEpoch
from ray_pipeline.stream.sequence import Range, RangeSet


@dataclass(frozen=True, slots=True)
class Hole:
    """Numbers of one epoch that did not arrive: `first` up to and including `last`."""

    shard: int
    epoch: int
    first: int
    last: int


def missing(
    seen: Mapping[ShardEpoch, RangeSet],
    *,
    published: Mapping[ShardEpoch, int],
    lost: Mapping[ShardEpoch, RangeSet],
) -> list[Hole]:
    """
    Return what was numbered and did not arrive, without what is already known to be lost.

    A number exists if a higher one arrived, or if its producer said that the broker has it.
    """
    holes: list[Hole] = []
    for owner in sorted(seen.keys() | published.keys()):
        arrived = RangeSet([*seen.get(owner, RangeSet()), *lost.get(owner, RangeSet())])
        end = published.get(owner, 0) + 1
        gaps: list[Range] = list(arrived.holes())
        if end > arrived.upper:
            gaps.append((arrived.upper, end))
        holes += [Hole(*owner, start, stop - 1) for start, stop in gaps]
    return holes


class HoleWatch:
    """Holes that are waited for. One that changes, because some of it came, waits anew."""

    def __init__(self, *, grace_s: float) -> None:
        self._grace_s = grace_s
        self._since_s: dict[Hole, float] = {}

    def expired(self, holes: Iterable[Hole], *, now_s: float) -> list[Hole]:
        """Return the holes that have been there for the whole grace."""
        self._since_s = {hole: self._since_s.get(hole, now_s) for hole in holes}
        return [hole for hole, since_s in self._since_s.items() if now_s - since_s >= self._grace_s]
