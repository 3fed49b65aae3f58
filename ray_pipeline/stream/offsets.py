"""Which records that a broker returned may be taken: none behind one that is still missing."""

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

log = logging.getLogger(__name__)


class Numbered(Protocol):
    """A record at its place in a partition."""

    @property
    def offset(self) -> int:
        """Its number there."""


class Offsets:
    """
    The next offset of each partition that is read.

    A broker numbers the records of a partition without holes. One that takes records of several
    producers at a time may show the later ones first; a reader that goes on behind them has lost
    the others for ever, and nobody notices. So a hole is read again until it is filled. Where it
    stays - transactions and compaction leave some - it is passed after a while, with a warning.
    """

    def __init__(self, *, patience_s: float, clock: Callable[[], float]) -> None:
        self._patience_s = patience_s
        self._clock = clock
        self._next: dict[int, int] = {}
        self._holes: dict[int, tuple[int, float]] = {}  # by partition: which offset, since when

    def start_at(self, offsets: Mapping[int, int]) -> None:
        """Begin anew with these partitions and their next offsets."""
        self._next = dict(offsets)
        self._holes = {}

    def next_offset(self, partition: int) -> int:
        """Return where to go on; 0 for a partition that is not read."""
        return self._next.get(partition, 0)

    def take(self, partition: int, records: Sequence[Numbered]) -> int:
        """
        Return how many of these records, which are in order, may be taken.

        Where those are not all, one before the others is missing: read again at `next_offset`.
        """
        wanted = self._next[partition]
        if records[0].offset == wanted and records[-1].offset == wanted + len(records) - 1:
            self._next[partition] = wanted + len(records)
            return len(records)
        for index, record in enumerate(records):
            if record.offset > wanted and not self._stays(partition, wanted, record.offset):
                self._next[partition] = wanted
                return index
            wanted = record.offset + 1
        self._next[partition] = wanted
        return len(records)

    def _stays(self, partition: int, offset: int, end: int) -> bool:
        known, since_s = self._holes.get(partition, (-1, 0.0))
        now_s = self._clock()
        if known != offset:
            self._holes[partition] = (offset, now_s)
            return False
        if now_s - since_s < self._patience_s:
            return False
        log.warning("partition %d: there are no records %d to %d", partition, offset, end - 1)
        return True
