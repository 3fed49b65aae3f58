"""
The archive of raw records: its files, their names, and where it continues.

One file holds consecutive records of one partition and one day. So a partition's last line in the
manifest shows where its archive ends, and a crash leaves a shorter archive, never a missing range.
"""

import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from ray_pipeline.feeds.records import from_ms
from ray_pipeline.stream.batch import Message

# Shards and brokers date records within seconds of each other; more is a broken clock.
UNKNOWN_DAY = "9999-12-31"


@dataclass(frozen=True, slots=True)
class ArchivePart:
    """
    One file of the archive; the field names are those of the manifest.

    Attributes:
        log: How many times the broker lost this partition's log and began again at offset 0.
        date: Day, UTC, of the first record by Kafka's time.
        tail_crc: CRC-32 of the last record's value: distinguishes this log from its replacement.
        missing: How many offsets before the first one the broker had already deleted.
    """

    topic: str
    partition: int
    log: int
    date: str
    first_offset: int
    last_offset: int
    rows: int
    tail_crc: int
    missing: int = 0

    @property
    def path(self) -> str:
        """The file, below the feed's folder."""
        log = f"-r{self.log}" if self.log else ""
        name = f"part-{self.topic}-{self.partition}{log}-{self.first_offset}-{self.last_offset}"
        return f"date={self.date}/{name}.parquet"


@dataclass(frozen=True, slots=True)
class ArchivePosition:
    """Where one partition's archive continues."""

    log: int = 0
    next_offset: int | None = None  # None: at the beginning of the log
    tail_crc: int | None = None


def resume_positions(parts: Iterable[ArchivePart]) -> dict[int, ArchivePosition]:
    """Return where to continue, by partition; `parts` are in the order of writing."""
    return {
        part.partition: ArchivePosition(part.log, part.last_offset + 1, part.tail_crc)
        for part in parts
    }


def day(timestamp_ms: int) -> str:
    """Return the day of a Kafka timestamp, UTC."""
    try:
        return from_ms(timestamp_ms).date().isoformat()
    except OverflowError:
        return UNKNOWN_DAY


def runs(records: Sequence[Message]) -> Iterator[Sequence[Message]]:
    """
    Cut one partition's records, in order, into runs of one day.

    Days only increase within a call: records that are milliseconds late at midnight do not split
    the run into many small ones.
    """
    start = 0
    current = day(records[0].timestamp_ms) if records else ""
    for index, record in enumerate(records):
        if (today := day(record.timestamp_ms)) > current:
            yield records[start:index]
            start, current = index, today
    if records:
        yield records[start:]


def part_of(topic: str, records: Sequence[Message], *, log: int, missing: int) -> ArchivePart:
    """Return the description of a run."""
    return ArchivePart(
        topic=topic,
        partition=records[0].partition,
        log=log,
        date=day(records[0].timestamp_ms),
        first_offset=records[0].offset,
        last_offset=records[-1].offset,
        rows=len(records),
        tail_crc=zlib.crc32(records[-1].value or b""),
        missing=missing,
    )


def in_order(
    parts: Iterable[ArchivePart], *, first_day: str, last_day: str
) -> dict[int, list[ArchivePart]]:
    """Return the parts of a range of days, by partition, in the order of their records."""
    by_partition: dict[int, list[ArchivePart]] = {}
    for part in sorted(parts, key=lambda part: (part.log, part.first_offset)):
        if first_day <= part.date <= last_day:
            by_partition.setdefault(part.partition, []).append(part)
    return by_partition
