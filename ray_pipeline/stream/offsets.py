"""Which of the records that a broker returned may be taken: none after a missing one."""

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

    A broker numbers the records of a partition consecutively. A broker that accepts records of
    several producers at a time may show the later ones first; a reader that continues after them
    skips the others unnoticed. So a missing range is read again until it is filled. Transactions
    and compaction leave ranges that stay missing: those are passed after a while, with a warning.
    """

    def __init__(self, *, patience_s: float, clock: Callable[[], float]) -> None:
        self._patience_s = patience_s
        self._clock = clock
        self._next: dict[int, int] = {}
        self._missing: dict[int, tuple[int, float]] = {}  # by partition: the offset, since when

    def start_at(self, offsets: Mapping[int, int]) -> None:
        """Read these partitions from these offsets."""
        self._next = dict(offsets)
        self._missing = {}

    def next_offset(self, partition: int) -> int:
        """Return the next offset; 0 for a partition that is not read."""
        return self._next.get(partition, 0)

    def take(self, partition: int, records: Sequence[Numbered]) -> int:
        """
        Return how many of these records, which are in order, may be taken.

        If not all may be taken, a record before the others is missing: read again at `next_offset`.
        """
        expected = self._next[partition]
        # Offsets increase, so the ends decide whether any is missing in between.
        if records[0].offset == expected and records[-1].offset == expected + len(records) - 1:
            self._next[partition] = expected + len(records)
            return len(records)
        for index, record in enumerate(records):
            if record.offset > expected and not self._stays(partition, expected, record.offset):
                self._next[partition] = expected
                return index
            expected = record.offset + 1
        self._next[partition] = expected
        return len(records)

    def _stays(self, partition: int, offset: int, end: int) -> bool:
        missing_offset, since_s = self._missing.get(partition, (-1, 0.0))
        now_s = self._clock()
        if missing_offset != offset:
            self._missing[partition] = (offset, now_s)
            return False
        if now_s - since_s < self._patience_s:
            return False
        log.warning("partition %d has no records %d to %d", partition, offset, end - 1)
        return True
