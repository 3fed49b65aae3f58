"""
Parquet files of raw records, and the manifest that lists the valid ones.

A file is written under a temporary name, synced, read back and compared, renamed, and only then
listed. After a crash between the last two steps, the next start lists it; after an earlier crash,
the next start removes it, and its records are read from Kafka again.
"""

import asyncio
import fcntl
import itertools
import json
import os
import re
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from ray_pipeline.errors import OwnershipLost, PipelineError
from ray_pipeline.stream.archive_layout import (
    ArchivePart,
    ArchivePosition,
    part_of,
    resume_positions,
    runs,
)
from ray_pipeline.stream.batch import Message

# Of keys and values: bounds the memory for records of any size. As objects they take two to three
# times that, and once more while a file is written.
BYTES_PER_FILE = 8 * 2**20
READ_ROWS = 5_000
MANIFEST = "manifest.jsonl"
TEMPORARY = ".tmp"
SCHEMA = pa.schema(
    [
        ("topic", pa.string()),
        ("partition", pa.int32()),
        ("offset", pa.int64()),
        ("timestamp_ms", pa.int64()),
        ("key", pa.binary()),
        ("value", pa.binary()),
    ]
)
_NAME = re.compile(
    r"part-(?P<topic>.+)-(?P<partition>\d+)(?:-r(?P<log>\d+))?-(?P<first>\d+)-(?P<last>\d+)\.parquet"
)


class Archive:
    """
    One feed's archive, open for writing by one process at a time.

    `add` takes records, `flush` writes them to files. Records that were added and not flushed are
    not archived; after a restart, `position` is before them.
    """

    def __init__(
        self, directory: Path, feed: str, *, rows_per_file: int, seconds_per_file: float
    ) -> None:
        self._directory = directory / feed
        self._rows_per_file = rows_per_file
        self._seconds_per_file = seconds_per_file
        self._lock: int | None = None
        self._positions: dict[int, ArchivePosition] = {}
        self._missing: dict[int, int] = {}
        self._buffers: dict[tuple[str, int], list[Message]] = {}
        self._rows = 0
        self._bytes = 0
        self._since_s: float | None = None

    def open(self) -> None:
        """
        Lock the folder, repair it after a crash, and find where each partition continues.

        Raises:
            OwnershipLost: If another process writes this archive.
            OSError: If the folder cannot be written.
        """
        self._directory.mkdir(parents=True, exist_ok=True)
        self._lock = os.open(self._directory / ".lock", os.O_CREAT | os.O_RDWR, 0o644)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self.close()
            raise OwnershipLost(f"another process writes {self._directory}") from None
        parts = repair(self._directory)
        self._positions = resume_positions(parts)

    def close(self) -> None:
        """Unlock the folder. Records that were not flushed are forgotten."""
        lock, self._lock = self._lock, None
        if lock is not None:
            os.close(lock)

    def position(self, partition: int) -> ArchivePosition:
        """Return where a partition continues, after everything that was added."""
        return self._positions.get(partition, ArchivePosition())

    def restart(self, partition: int, *, offset: int, log: int, missing: int = 0) -> None:
        """Continue elsewhere: in a log that replaced the old one, or past records that are gone."""
        self._positions[partition] = ArchivePosition(log, offset)
        self._missing[partition] = missing

    def add(self, topic: str, records: Sequence[Message], *, now_s: float) -> int:
        """Take records, in order within each partition; return how many were new."""
        groups: dict[int, list[Message]] = {}
        for record in records:
            groups.setdefault(record.partition, []).append(record)
        added = sum(self._add(topic, group) for group in groups.values())
        if added and self._since_s is None:
            self._since_s = now_s
        return added

    def _add(self, topic: str, records: Sequence[Message]) -> int:
        partition = records[0].partition
        position = self.position(partition)
        first = position.next_offset or 0
        fresh = [record for record in records if record.offset >= first]
        if fresh:
            self._buffers.setdefault((topic, partition), []).extend(fresh)
            crc = zlib.crc32(fresh[-1].value or b"")
            self._positions[partition] = ArchivePosition(position.log, fresh[-1].offset + 1, crc)
            self._rows += len(fresh)
            self._bytes += sum(map(_weight, fresh))
        return len(fresh)

    def due(self, now_s: float) -> bool:
        """Return whether it is time to flush: by rows, by bytes, or by age."""
        if self._since_s is None:
            return False
        return (
            self._rows >= self._rows_per_file
            or self._bytes >= BYTES_PER_FILE
            or now_s - self._since_s >= self._seconds_per_file
        )

    async def flush(self) -> list[ArchivePart]:
        """
        Write the records that were added, and return the new parts.

        Raises:
            OSError: If the disk refuses the write. The records stay in memory; flush again.
            PipelineError: If a file did not read back as it was written.
        """
        written: list[ArchivePart] = []
        for topic, partition in list(self._buffers):
            records = self._buffers[topic, partition]
            log = self.position(partition).log
            missing = self._missing.get(partition, 0)
            for run in list(runs(records)):
                part = part_of(topic, run, log=log, missing=missing)
                cancelled = await _to_the_end(write_part, self._directory, part, run)
                pa.default_memory_pool().release_unused()
                written.append(part)
                missing = self._missing[partition] = 0
                self._forget(topic, run)
                if cancelled:
                    raise asyncio.CancelledError
        self._since_s = None
        return written

    def _forget(self, topic: str, run: Sequence[Message]) -> None:
        """Drop records that are on disk, so that a repeated flush continues after them."""
        position = (topic, run[0].partition)
        self._buffers[position] = self._buffers[position][len(run) :]
        if not self._buffers[position]:
            del self._buffers[position]
        self._rows -= len(run)
        self._bytes -= sum(map(_weight, run))


async def _to_the_end(
    write: Callable[[Path, ArchivePart, Sequence[Message]], None],
    directory: Path,
    part: ArchivePart,
    run: Sequence[Message],
) -> bool:
    """
    Write a part in a thread until it is done; return whether this task was cancelled meanwhile.

    A thread cannot be cancelled. If it ran on, it would list a file that the next flush lists, too.
    """
    working = asyncio.ensure_future(asyncio.to_thread(write, directory, part, run))
    cancelled = False
    while not working.done():
        try:
            await asyncio.wait([working])
        except asyncio.CancelledError:
            cancelled = True
    working.result()
    return cancelled


def write_part(directory: Path, part: ArchivePart, records: Sequence[Message]) -> None:
    """
    Write one file and list it; after a crash either all of it is valid or nothing.

    Raises:
        OSError: If the disk refuses the write.
        PipelineError: If it did not read back as it was written.
    """
    path = directory / part.path
    temporary = path.with_name(path.name + TEMPORARY)
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(_table(part.topic, records), temporary, compression="zstd")
    _sync(temporary)
    verify(temporary, part)
    temporary.rename(path)
    _sync(path.parent)
    _append(directory, [part])


def verify(path: Path, part: ArchivePart) -> None:
    """
    Compare a file with its description: rows, and the offsets in order.

    Raises:
        PipelineError: If they differ.
    """
    with pq.ParquetFile(path) as file:
        offsets = file.read(columns=["offset"]).column("offset").to_pylist()
    if (
        len(offsets) != part.rows
        or (offsets[0], offsets[-1]) != (part.first_offset, part.last_offset)
        or any(later <= earlier for earlier, later in itertools.pairwise(offsets))
    ):
        raise PipelineError(f"{path} does not hold what was written", fix="check the disk")


def repair(directory: Path) -> list[ArchivePart]:
    """
    Repair a folder after a crash and return its parts, in the order they were written.

    An incomplete line at the manifest's end is removed, as are temporary files. A complete file
    that is not listed was renamed just before the crash, and is listed now.
    """
    parts = read_manifest(directory)
    for temporary in directory.glob(f"date=*/*{TEMPORARY}"):
        temporary.unlink()
    listed = {part.path for part in parts}
    unlisted = [
        _describe(path)
        for path in directory.glob("date=*/part-*.parquet")
        if f"{path.parent.name}/{path.name}" not in listed
    ]
    unlisted.sort(key=lambda part: (part.partition, part.log, part.first_offset))
    _append(directory, unlisted)
    return parts + unlisted


def read_manifest(directory: Path) -> list[ArchivePart]:
    """Return the parts that a folder lists; an incomplete last line is removed."""
    path = directory / MANIFEST
    if not path.exists():
        return []
    content = path.read_bytes()
    whole = content[: content.rfind(b"\n") + 1]
    if len(whole) < len(content) and os.access(path, os.W_OK):
        os.truncate(path, len(whole))
    return [ArchivePart(**json.loads(line)) for line in whole.splitlines()]


def read_part(path: Path) -> Iterator[Message]:
    """Yield the records of a file in order, a few thousand in memory at a time."""
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(batch_size=READ_ROWS):
            columns = [batch.column(name).to_pylist() for name in batch.schema.names[1:]]
            for values in zip(*columns, strict=True):
                yield Message(*values)


def _describe(path: Path) -> ArchivePart:
    match = _NAME.fullmatch(path.name)
    if match is None:
        raise PipelineError(f"{path} is not a part of an archive", fix="move it elsewhere")
    records = list(read_part(path))
    part = part_of(match["topic"], records, log=int(match["log"] or 0), missing=0)
    return ArchivePart(**asdict(part) | {"date": path.parent.name.removeprefix("date=")})


def _table(topic: str, records: Sequence[Message]) -> pa.Table:
    return pa.table(
        [
            pa.array([topic] * len(records), pa.string()),
            pa.array([record.partition for record in records], pa.int32()),
            pa.array([record.offset for record in records], pa.int64()),
            pa.array([record.timestamp_ms for record in records], pa.int64()),
            pa.array([record.key for record in records], pa.binary()),
            pa.array([record.value for record in records], pa.binary()),
        ],
        schema=SCHEMA,
    )


def _append(directory: Path, parts: Sequence[ArchivePart]) -> None:
    if not parts:
        return
    lines = "".join(json.dumps(asdict(part)) + "\n" for part in parts)
    with (directory / MANIFEST).open("ab") as manifest:
        manifest.write(lines.encode())
        manifest.flush()
        os.fsync(manifest.fileno())
    _sync(directory)


def _weight(record: Message) -> int:
    return len(record.key or b"") + len(record.value or b"")


def _sync(path: Path) -> None:
    """Make a file's content, or a folder's names, survive a power failure."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
