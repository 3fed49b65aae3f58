"""
The records without an acknowledgement: a round in flight, the spool, and memory.

Records in the spool are always older than those in memory and are sent first. While the broker
takes records faster than they arrive, the spool empties, and new records bypass it again.
"""

from collections import deque
from dataclasses import dataclass
from itertools import islice

from ray_pipeline.errors import SpoolFull
from ray_pipeline.stream.publishing_ports import OutboxRecord, SpoolPort

ROUND_RECORDS = 5_000
MEMORY_RECORDS = 50_000
SPOOL_RECORDS = 10_000


@dataclass(slots=True)
class Round:
    """The records that are being sent; `spooled` if they are the first records of the spool."""

    records: list[OutboxRecord]
    spooled: bool


class RecordQueue:
    """
    Keeps records in order until they are acknowledged.

    Attributes:
        memory: The newest records, neither in flight nor on disk.
        full: Why the disk takes no records; empty while it does.
    """

    def __init__(self, spool: SpoolPort) -> None:
        self._spool = spool
        self._round: Round | None = None
        self._spooled_from_ms = _first_ms(spool.read(1))
        self.memory: deque[OutboxRecord] = deque()
        self.full = ""

    def __bool__(self) -> bool:
        """Return whether any record waits."""
        return bool(self.memory or self._round or len(self._spool))

    @property
    def pending(self) -> int:
        """How many records wait in memory only."""
        return len(self.memory) + len(self._in_flight(spooled=False))

    @property
    def spooled(self) -> int:
        """How many records wait on disk."""
        return len(self._spool)

    @property
    def oldest_ms(self) -> int | None:
        """When the oldest record that waits was received; None without one."""
        if self._spooled_from_ms is not None:
            return self._spooled_from_ms
        return _first_ms(self._round.records if self._round else self.memory)

    def is_long(self) -> bool:
        """Return whether memory is full."""
        return len(self.memory) >= MEMORY_RECORDS

    def has_room(self) -> bool:
        """Return whether there is room again after memory and disk were full."""
        return not self.full and len(self.memory) < MEMORY_RECORDS // 2

    def must_spool(self) -> bool:
        """Return whether records in memory must go to disk, whether or not the broker answers."""
        # While the spool holds more than the round in flight, records in memory are spooled, too,
        # to keep the order. The last round is an exception: without it, the spool would never
        # empty under a steady load.
        behind = len(self._spool) > len(self._in_flight(spooled=True))
        return behind or len(self.memory) > MEMORY_RECORDS

    def next_round(self) -> Round:
        """Return the records to send now: those of a failed round again, else the oldest."""
        if self._round is None:
            self._round = self._oldest()
        return self._round

    def settle(self) -> Round | None:
        """Forget the round in flight, which was acknowledged, and return it."""
        round_, self._round = self._round, None
        if round_ is not None and round_.spooled:
            self._spool.acknowledge(len(round_.records))
            self._spooled_from_ms = round_.records[-1].received_ms if len(self._spool) else None
            self.full = ""
        return round_

    def spool_some(self) -> bool:
        """
        Move at most SPOOL_RECORDS to disk, those in flight first; that takes milliseconds.

        Return whether any were moved; `full` says why not.
        """
        ahead = self._in_flight(spooled=False)
        records = [*ahead, *islice(self.memory, max(0, SPOOL_RECORDS - len(ahead)))]
        moved = self._append(records, least=max(1, len(ahead)))
        if not moved:
            return False
        if self._round is not None:
            self._round.spooled = True
        for _ in range(moved - len(ahead)):
            self.memory.popleft()
        if self._spooled_from_ms is None:
            self._spooled_from_ms = records[0].received_ms
        return True

    def _oldest(self) -> Round:
        if len(self._spool):
            return Round(self._spool.read(ROUND_RECORDS), spooled=True)
        count = min(ROUND_RECORDS, len(self.memory))
        return Round([self.memory.popleft() for _ in range(count)], spooled=False)

    def _in_flight(self, *, spooled: bool) -> list[OutboxRecord]:
        """Return the records in flight if they are on disk, or if they are not."""
        return self._round.records if self._round and self._round.spooled == spooled else []

    def _append(self, records: list[OutboxRecord], *, least: int) -> int:
        """Append as many records as fit, halving; return the count, 0 if it is below `least`."""
        self.full = ""
        size = len(records)
        while size >= least:
            try:
                self._spool.append(records[:size])
                return size
            except SpoolFull as error:
                if not self.full:
                    self.full = str(error)
                size //= 2
        return 0


def _first_ms(records: "list[OutboxRecord] | deque[OutboxRecord]") -> int | None:
    return records[0].received_ms if records else None
