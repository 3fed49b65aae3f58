"""The archive's files, and what a crash at each point leaves."""

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from ray_pipeline.errors import OwnershipLost, PipelineError
from ray_pipeline.storage.parquet import Archive, read_manifest, read_part, verify
from ray_pipeline.stream.archive_layout import ArchivePart, part_of
from ray_pipeline.stream.batch import Message

TOPIC = "bithumb-ticker"


def messages(first: int, last: int, *, partition: int = 0) -> list[Message]:
    return [
        Message(partition, offset, 1_000 + offset, None, b"value %d" % offset)
        for offset in range(first, last + 1)
    ]


def archive(directory: Path, *, rows_per_file: int = 1000) -> Archive:
    opened = Archive(directory, "bithumb", rows_per_file=rows_per_file, seconds_per_file=60)
    opened.open()
    return opened


async def write(directory: Path, *groups: list[Message]) -> list[ArchivePart]:
    """Write each group as a file of its own."""
    opened = archive(directory)
    try:
        written: list[ArchivePart] = []
        for group in groups:
            opened.add(TOPIC, group, now_s=0.0)
            written += await opened.flush()
        return written
    finally:
        opened.close()


def contents(directory: Path) -> list[Message]:
    folder = directory / "bithumb"
    return [record for part in read_manifest(folder) for record in read_part(folder / part.path)]


def place(directory: Path) -> int | None:
    opened = archive(directory)
    opened.close()
    return opened.position(0).next_offset


async def test_what_was_added_can_be_read_back(tmp_path):
    records = [
        Message(0, 0, 5, b"\x00\xff", b""),
        Message(0, 1, 6, None, None),
        Message(0, 4, 7, b"k", b"x" * 100_000),
    ]

    await write(tmp_path, records)

    assert contents(tmp_path) == records


async def test_the_columns_are_what_they_are_called(tmp_path):
    (part,) = await write(tmp_path, messages(0, 4))

    table = pq.read_table(tmp_path / "bithumb" / part.path)

    assert table.schema.names[:6] == [
        "topic", "partition", "offset", "timestamp_ms", "key", "value",
    ]  # fmt: skip


async def test_the_same_offsets_again_change_nothing(tmp_path):
    await write(tmp_path, messages(0, 9))
    before = sorted(path for path in tmp_path.rglob("*"))

    await write(tmp_path, messages(0, 9), messages(5, 9))

    assert sorted(path for path in tmp_path.rglob("*")) == before
    assert contents(tmp_path) == messages(0, 9)


async def test_an_archive_goes_on_where_its_manifest_ends(tmp_path):
    await write(tmp_path, messages(0, 9))
    await write(tmp_path, messages(3, 14))

    assert contents(tmp_path) == messages(0, 14)


async def test_what_was_not_flushed_is_asked_for_again(tmp_path):
    opened = archive(tmp_path)
    opened.add(TOPIC, messages(0, 9), now_s=0.0)
    assert opened.position(0).next_offset == 10
    opened.close()

    assert place(tmp_path) is None


async def test_a_crash_before_the_rename_leaves_nothing_that_counts(tmp_path):
    (part,) = await write(tmp_path, messages(0, 9))
    path = tmp_path / "bithumb" / part.path
    path.rename(path.with_name(path.name + ".tmp"))
    (tmp_path / "bithumb" / "manifest.jsonl").unlink()

    assert place(tmp_path) is None
    assert list(tmp_path.rglob("*.tmp")) == []


async def test_a_crash_between_the_rename_and_the_manifest_is_mended(tmp_path):
    await write(tmp_path, messages(0, 4), messages(5, 9))
    manifest = tmp_path / "bithumb" / "manifest.jsonl"
    whole = manifest.read_text()
    manifest.write_text(whole.splitlines(keepends=True)[0])

    assert place(tmp_path) == 10
    assert manifest.read_text() == whole


async def test_half_a_line_in_the_manifest_is_mended(tmp_path):
    await write(tmp_path, messages(0, 4), messages(5, 9))
    manifest = tmp_path / "bithumb" / "manifest.jsonl"
    whole = manifest.read_text()
    manifest.write_text(whole[:-20])

    assert place(tmp_path) == 10
    assert manifest.read_text() == whole


async def test_a_full_disk_keeps_the_records_in_memory(tmp_path):
    """The folder of the day cannot be made; once it can, the same records are written."""
    opened = archive(tmp_path)
    obstacle = tmp_path / "bithumb" / "date=1970-01-01"
    obstacle.write_text("")
    opened.add(TOPIC, messages(0, 9), now_s=0.0)

    with pytest.raises(OSError, match="date=1970-01-01"):
        await opened.flush()
    obstacle.unlink()
    await opened.flush()
    opened.close()

    assert contents(tmp_path) == messages(0, 9)


async def test_a_log_that_began_again_does_not_overwrite_the_old_one(tmp_path):
    opened = archive(tmp_path)
    opened.add(TOPIC, messages(0, 9), now_s=0.0)
    await opened.flush()
    opened.restart(0, offset=0, log=1)
    opened.add(TOPIC, messages(0, 9), now_s=0.0)
    await opened.flush()
    opened.close()

    assert contents(tmp_path) == messages(0, 9) * 2


async def test_partitions_have_files_of_their_own(tmp_path):
    await write(tmp_path, messages(0, 3) + messages(0, 2, partition=1))

    assert len(read_manifest(tmp_path / "bithumb")) == 2


def test_it_is_due_by_rows_or_by_age(tmp_path):
    opened = archive(tmp_path, rows_per_file=10)
    assert not opened.due(1e9)

    opened.add(TOPIC, messages(0, 4), now_s=100.0)
    assert not opened.due(159.0)
    assert opened.due(160.0)

    opened.add(TOPIC, messages(5, 9), now_s=101.0)
    assert opened.due(101.0)
    opened.close()


def test_two_writers_of_one_archive_are_one_too_many(tmp_path):
    first = archive(tmp_path)

    with pytest.raises(OwnershipLost):
        archive(tmp_path)

    first.close()


async def test_a_file_that_holds_something_else_is_found_out(tmp_path):
    (part,) = await write(tmp_path, messages(0, 4))
    other = part_of(TOPIC, messages(0, 5), log=0, missing=0)

    with pytest.raises(PipelineError, match="does not hold"):
        verify(tmp_path / "bithumb" / part.path, other)
