"""Which numbers of an epoch have arrived: a number that arrives twice is a repeat."""

from bisect import bisect_right
from collections.abc import Iterable, Iterator

from ray_pipeline.dead_letter_reasons import Reason
from ray_pipeline.errors import BadRecord

LARGEST = 2**62  # of a number or an epoch, which are int8 in Postgres
Range = tuple[int, int]  # first, one past the last


class RangeSet:
    """A set of whole numbers kept as sorted, disjoint, non-touching ranges."""

    __slots__ = ("_ends", "_starts")

    def __init__(self, ranges: Iterable[Range] = ()) -> None:
        self._starts: list[int] = []
        self._ends: list[int] = []
        for start, end in ranges:
            self.add(start, end)

    def __contains__(self, number: int) -> bool:
        index = bisect_right(self._starts, number) - 1
        return index >= 0 and number < self._ends[index]

    def __iter__(self) -> Iterator[Range]:
        return iter(zip(self._starts, self._ends, strict=True))

    def __len__(self) -> int:
        """Return how many numbers it holds."""
        return sum(self._ends) - sum(self._starts)

    @property
    def upper(self) -> int:
        """One past the highest number; 1 when empty, because numbering begins at 1."""
        return self._ends[-1] if self._ends else 1

    def add(self, start: int, end: int) -> None:
        """Put in all numbers from `start` up to, not including, `end`."""
        if self._ends and start == self._ends[-1]:
            self._ends[-1] = end
            return
        # The ranges low..high-1 overlap or touch the new one: it replaces them by their union.
        low = bisect_right(self._ends, start - 1)
        high = bisect_right(self._starts, end)
        if low < high:
            start = min(start, self._starts[low])
            end = max(end, self._ends[high - 1])
        self._starts[low:high] = [start]
        self._ends[low:high] = [end]

    def missing(self) -> Iterator[Range]:
        """Yield the ranges that are missing between 1 and the highest number."""
        below = 1
        for start, end in self:
            if start > below:
                yield below, start
            below = end


def multirange(ranges: Iterable[Range]) -> str:
    """Return Postgres' text for an int8multirange."""
    return "{" + ",".join(f"[{start},{end})" for start, end in ranges) + "}"


class Arrivals:
    """The numbers of one (shard, epoch) as they arrive, and which of them are new in this batch."""

    __slots__ = ("_batch", "_before", "_next")

    def __init__(self, before: RangeSet) -> None:
        self._before = before
        self._batch: list[list[int]] = []  # runs of this batch: [start, end), not yet in _before
        # The number that continues the last run and is surely new; None: unknown.
        self._next: int | None = None

    @classmethod
    def empty(cls) -> "Arrivals":
        """Return the arrivals of an epoch from which nothing has arrived."""
        return cls(RangeSet())

    def take(self, seq: int) -> bool:
        """
        Take a number into the batch. Return False if it has arrived before.

        Raises:
            BadRecord: If it is out of range.
        """
        batch = self._batch
        if seq == self._next:
            batch[-1][1] = self._next = seq + 1  # nearly every record continues the last run
            return True
        # Only here: a number that continues a run of valid numbers is valid.
        if not 1 <= seq < LARGEST:
            raise BadRecord(f"seq {seq}", reason=Reason.BAD_IDENTITY)
        if seq in self._before or any(start <= seq < end for start, end in batch):
            return False
        batch.append([seq, seq + 1])
        if len(batch) > 1 and batch[-2][1] > seq:
            batch.sort()
        # The last run has the highest numbers of the batch. Numbers above all others are new.
        end = batch[-1][1]
        self._next = end if end >= self._before.upper else None
        return True

    def cut(self) -> list[Range]:
        """End the batch; return its numbers as ranges."""
        runs = RangeSet((start, end) for start, end in self._batch)
        for start, end in runs:
            self._before.add(start, end)
        self._batch, self._next = [], None
        return list(runs)
