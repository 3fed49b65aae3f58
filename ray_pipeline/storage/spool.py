"""
A queue on disk, one directory per shard: records wait in it while the broker is away.

Layout: segments `<number>.seg` of framed records, appended in order, and a file `cursor` with the
position up to which they were acknowledged. A record is valid if its frame is complete; opening the
queue truncates a frame that a crash left incomplete. If the cursor is lost, records are delivered
again.
"""

import contextlib
import fcntl
import logging
import os
import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ray_pipeline.errors import SpoolFull, Unavailable
from ray_pipeline.stream.publishing_ports import OutboxRecord

log = logging.getLogger(__name__)

SEGMENT_BYTES = 16 * 2**20

_FRAME = struct.Struct(">II")  # length of the body, its crc32
_BODY = struct.Struct(">QQqI")  # epoch, seq, received at (ms), length of the key
_CURSOR = struct.Struct(">QQI")  # segment, offset in it, crc32 of both


@dataclass(slots=True)
class _Segment:
    """One file: its number, its length in bytes and how many records are not acknowledged."""

    number: int
    size: int
    waiting: int


def open_spool(root: Path, feed: str, *, shard: int, limit_bytes: int) -> "Spool":
    """
    Open the queue of a shard below `root`, with the records that an earlier process left in it.

    Raises:
        Unavailable: If another process has it open.
        SpoolFull: If the directory cannot be written.
    """
    return Spool(root / f"{feed}-{shard}", limit_bytes=limit_bytes)


class Spool:
    """Implements `stream.outbox.Spool` with files. One process, one thread."""

    def __init__(
        self, directory: Path, *, limit_bytes: int, segment_bytes: int = SEGMENT_BYTES
    ) -> None:
        """Open the queue; raises as `open_spool`."""
        self._dir = directory
        self._limit_bytes = limit_bytes
        self._segment_bytes = segment_bytes
        try:
            directory.mkdir(parents=True, exist_ok=True)
            self._lock = _locked(directory / "lock")
        except OSError as error:
            raise SpoolFull(f"the spool {directory} cannot be written: {error}") from error
        self._tail: int | None = None  # the last segment, open for appending
        # Where each record of the last `read` ends, so that acknowledging reads nothing again.
        self._ends: list[tuple[int, int]] = []
        self._number, self._offset = self._read_cursor()
        self._segments = self._recover()

    def __len__(self) -> int:
        """Return how many records are not acknowledged."""
        return sum(segment.waiting for segment in self._segments)

    @property
    def size_bytes(self) -> int:
        """What the segments use on disk, in bytes."""
        return sum(segment.size for segment in self._segments)

    def append(self, records: Sequence[OutboxRecord]) -> None:
        """
        Put records at the end; they survive a crash of the machine once this returns.

        Raises:
            SpoolFull: If the limit or the disk does not allow all of them; nothing is kept then.
        """
        if not records:
            return
        data = b"".join(map(_framed, records))
        if self.size_bytes + len(data) > self._limit_bytes:
            raise SpoolFull(
                f"the spool {self._dir.name} has {self.size_bytes} of {self._limit_bytes} bytes"
            )
        segment = self._last_segment()
        try:
            self._write(data)
        except OSError as error:
            self._cut_tail(segment)
            raise SpoolFull(f"the spool {self._dir.name} cannot be written: {error}") from error
        segment.size += len(data)
        segment.waiting += len(records)

    def read(self, limit: int) -> list[OutboxRecord]:
        """Return at most `limit` records from the cursor on, in order, without moving it."""
        records: list[OutboxRecord] = []
        self._ends = []
        for segment in self._segments:
            start = self._offset if segment.number == self._number else 0
            for record, end in self._entries(segment, start):
                if len(records) == limit:
                    return records
                records.append(record)
                self._ends.append((segment.number, end))
        return records

    def acknowledge(self, count: int) -> None:
        """
        Move the cursor past the next `count` records; delete the segments before it.

        Raises:
            ValueError: If the queue holds fewer records.
        """
        if count == 0:
            return
        if count > len(self._ends):
            self.read(count)
        if count > len(self._ends):
            raise ValueError(f"{count} acknowledged of {len(self._ends)} in the spool")
        for number, _ in self._ends[:count]:
            self._segment(number).waiting -= 1
        self._number, self._offset = self._ends[count - 1]
        self._ends = self._ends[count:]
        self._delete_finished()
        self._write_cursor()

    def close(self) -> None:
        """Let another process open the queue."""
        self._close_tail()
        os.close(self._lock)

    def _segment(self, number: int) -> _Segment:
        return self._segments[number - self._segments[0].number]

    def _path(self, number: int) -> Path:
        return self._dir / f"{number:012d}.seg"

    # Opening

    def _read_cursor(self) -> tuple[int, int]:
        try:
            data = (self._dir / "cursor").read_bytes()
        except FileNotFoundError:
            return 0, 0
        if len(data) != _CURSOR.size:
            return 0, 0
        number, offset, crc = _CURSOR.unpack(data)
        return (number, offset) if crc == zlib.crc32(data[:16]) else (0, 0)

    def _recover(self) -> list[_Segment]:
        """Count the valid records that are not acknowledged; truncate incomplete ones."""
        segments: list[_Segment] = []
        for path in sorted(self._dir.glob("*.seg")):
            number = int(path.stem)
            if number < self._number:
                path.unlink()  # killed between moving the cursor and deleting
                continue
            segment = self._recover_segment(path, number)
            if number == self._number and segment.size < self._offset:
                path.unlink()  # damaged before the cursor: appended records would be skipped
                continue
            segments.append(segment)
        # A number is never used twice: an old cursor would point into a new segment.
        self._next_number = max([self._number, *(segment.number for segment in segments)]) + 1
        return self._contiguous(segments)

    def _recover_segment(self, path: Path, number: int) -> _Segment:
        data = path.read_bytes()
        start = self._offset if number == self._number else 0
        whole, waiting = min(start, len(data)), 0
        for _, end in _parse(data, start):
            whole, waiting = end, waiting + 1
        if whole < len(data):
            log.warning("%s: truncated %d incomplete bytes", path, len(data) - whole)
            os.truncate(path, whole)
        return _Segment(number, whole, waiting)

    def _contiguous(self, segments: list[_Segment]) -> list[_Segment]:
        """Add an empty segment for each deleted file, so that numbers are indexes."""
        if not segments:
            return []
        by_number = {segment.number: segment for segment in segments}
        return [
            by_number.get(number, _Segment(number, 0, 0))
            for number in range(segments[0].number, segments[-1].number + 1)
        ]

    # Reading

    def _entries(self, segment: _Segment, start: int) -> Iterator[tuple[OutboxRecord, int]]:
        if not segment.waiting:
            return iter(())
        with self._path(segment.number).open("rb") as file:
            file.seek(start)
            data = file.read(segment.size - start)
        return ((record, start + end) for record, end in _parse(data, 0))

    # Writing

    def _last_segment(self) -> _Segment:
        """Return the segment to append to, opened; a new one when the last is long enough."""
        if not self._segments or self._segments[-1].size >= self._segment_bytes:
            self._close_tail()
            self._segments.append(_Segment(self._next_number, 0, 0))
            self._next_number += 1
        return self._segments[-1]

    def _write(self, data: bytes) -> None:
        if self._tail is None:
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
            self._tail = os.open(self._path(self._segments[-1].number), flags, 0o600)
            _sync_directory(self._dir)
        view = memoryview(data)
        while view:
            view = view[os.write(self._tail, view) :]
        os.fsync(self._tail)

    def _cut_tail(self, segment: _Segment) -> None:
        """Remove the bytes that a failed append has written."""
        self._close_tail()
        with contextlib.suppress(FileNotFoundError):
            os.truncate(self._path(segment.number), segment.size)

    def _close_tail(self) -> None:
        if self._tail is not None:
            os.close(self._tail)
            self._tail = None

    def _delete_finished(self) -> None:
        while self._segments and not self._segments[0].waiting:
            if len(self._segments) == 1:
                self._close_tail()
            gone = self._segments.pop(0)
            self._path(gone.number).unlink(missing_ok=True)
        # The cursor of an empty queue points at the next, unused number.
        if not self._segments:
            self._number, self._offset = self._next_number, 0
            self._next_number += 1

    def _write_cursor(self) -> None:
        position = struct.pack(">QQ", self._number, self._offset)
        data = position + struct.pack(">I", zlib.crc32(position))
        new = self._dir / "cursor.new"
        try:
            new.write_bytes(data)
            new.replace(self._dir / "cursor")
        except OSError as error:
            # On a full disk the old cursor stays: records are sent again after a restart.
            log.warning("%s: the cursor was not written: %s", self._dir, error)


def _framed(record: OutboxRecord) -> bytes:
    head = _BODY.pack(record.epoch, record.seq, record.received_ms, len(record.key))
    body = b"".join((head, record.key, record.value))
    return _FRAME.pack(len(body), zlib.crc32(body)) + body


def _parse(data: bytes, offset: int) -> Iterator[tuple[OutboxRecord, int]]:
    """Yield records and the offset after each, up to the first incomplete one."""
    while offset + _FRAME.size <= len(data):
        length, crc = _FRAME.unpack_from(data, offset)
        start, end = offset + _FRAME.size, offset + _FRAME.size + length
        if length < _BODY.size or end > len(data):
            return
        body = data[start:end]
        if zlib.crc32(body) != crc:
            return
        epoch, seq, received_ms, key_length = _BODY.unpack_from(body)
        cut = _BODY.size + key_length
        yield OutboxRecord(epoch, seq, received_ms, body[_BODY.size : cut], body[cut:]), end
        offset = end


def _locked(path: Path) -> int:
    """Return the descriptor of a locked file; Unavailable when another process has it."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise Unavailable(f"the spool {path.parent} is in use by another process") from None
    return descriptor


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
