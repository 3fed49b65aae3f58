"""The queue on disk: order, torn tails, the cursor, the limit."""

import subprocess
import sys
from pathlib import Path

import pytest

from ray_pipeline.errors import SpoolFull, Unavailable
from ray_pipeline.storage import spool as module
from ray_pipeline.storage.spool import Spool, open_spool
from ray_pipeline.stream.publishing_ports import OutboxRecord

LIMIT = 2**20


def entry(seq: int, *, size: int = 10) -> OutboxRecord:
    return OutboxRecord(7, seq, 1_700_000_000_000 + seq, f"key-{seq}".encode(), b"v" * size)


def entries(first: int, last: int, *, size: int = 10) -> list[OutboxRecord]:
    return [entry(seq, size=size) for seq in range(first, last + 1)]


def opened(path: Path, *, limit_bytes: int = LIMIT, segment_bytes: int = 2**16) -> Spool:
    return Spool(path, limit_bytes=limit_bytes, segment_bytes=segment_bytes)


def segments(path: Path) -> list[Path]:
    return sorted(path.glob("*.seg"))


def test_returns_what_was_put_in_order(tmp_path: Path) -> None:
    spool = opened(tmp_path)
    spool.append(entries(1, 3))
    spool.append(entries(4, 5))
    assert spool.read(4) == entries(1, 4)
    assert spool.read(100) == entries(1, 5)
    assert len(spool) == 5


def test_reading_does_not_remove(tmp_path: Path) -> None:
    spool = opened(tmp_path)
    spool.append(entries(1, 3))
    assert spool.read(2) == spool.read(2) == entries(1, 2)


def test_goes_on_behind_what_was_acknowledged(tmp_path: Path) -> None:
    spool = opened(tmp_path)
    spool.append(entries(1, 5))
    spool.read(2)
    spool.acknowledge(2)
    assert spool.read(2) == entries(3, 4)
    spool.acknowledge(1)
    assert spool.read(9) == entries(4, 5)


def test_more_can_be_acknowledged_than_was_read(tmp_path: Path) -> None:
    spool = opened(tmp_path)
    spool.append(entries(1, 5))
    spool.acknowledge(4)
    assert spool.read(9) == entries(5, 5)
    with pytest.raises(ValueError, match="2 acknowledged of 1"):
        spool.acknowledge(2)


def test_the_next_process_finds_what_was_left(tmp_path: Path) -> None:
    first = open_spool(tmp_path, "sp500", shard=3, limit_bytes=LIMIT)
    first.append(entries(1, 5))
    first.acknowledge(2)
    first.close()
    second = open_spool(tmp_path, "sp500", shard=3, limit_bytes=LIMIT)
    assert (tmp_path / "sp500-3").is_dir()
    assert len(second) == 3
    second.append(entries(6, 6))
    assert second.read(9) == entries(3, 6)


def test_a_second_process_is_refused_while_the_first_lives(tmp_path: Path) -> None:
    first = opened(tmp_path)
    with pytest.raises(Unavailable, match="in use"):
        opened(tmp_path)
    first.close()
    opened(tmp_path).close()


def test_finished_segments_are_deleted(tmp_path: Path) -> None:
    spool = opened(tmp_path, segment_bytes=500)
    for seq in range(1, 41):
        spool.append([entry(seq, size=100)])
    many = len(segments(tmp_path))
    assert many >= 8
    spool.acknowledge(35)
    assert len(segments(tmp_path)) <= 2
    assert spool.read(99) == entries(36, 40, size=100)
    spool.acknowledge(5)
    assert segments(tmp_path) == []
    assert spool.size_bytes == len(spool) == 0


def test_an_emptied_queue_can_be_used_again_and_reopened(tmp_path: Path) -> None:
    spool = opened(tmp_path)
    for seq in range(1, 6):
        spool.append([entry(seq)])
        spool.acknowledge(1)
    spool.append([entry(6)])
    spool.close()
    assert opened(tmp_path).read(9) == [entry(6)]


def test_a_tail_torn_at_any_byte_is_cut_off(tmp_path: Path) -> None:
    whole = tmp_path / "whole"
    spool = opened(whole)
    spool.append(entries(1, 2))
    before = spool.size_bytes
    spool.append(entries(3, 3))
    spool.close()
    data = segments(whole)[0].read_bytes()
    for length in range(before, len(data)):
        torn = tmp_path / f"torn-{length}"
        torn.mkdir()
        (torn / segments(whole)[0].name).write_bytes(data[:length])
        again = opened(torn)
        assert again.read(9) == entries(1, 2)
        assert again.size_bytes == before
        again.append(entries(4, 4))
        assert again.read(9) == [*entries(1, 2), entry(4)]
        again.close()


def test_a_changed_byte_ends_what_is_readable(tmp_path: Path) -> None:
    spool = opened(tmp_path)
    spool.append(entries(1, 2))
    before = spool.size_bytes
    spool.append(entries(3, 3))
    spool.close()
    path = segments(tmp_path)[0]
    data = bytearray(path.read_bytes())
    data[before + 20] ^= 1
    path.write_bytes(data)
    assert opened(tmp_path).read(9) == entries(1, 2)


@pytest.mark.parametrize("damage", [b"", b"short", b"x" * 20])
def test_a_damaged_cursor_means_once_more_not_never(tmp_path: Path, damage: bytes) -> None:
    spool = opened(tmp_path)
    spool.append(entries(1, 3))
    spool.acknowledge(2)
    spool.close()
    (tmp_path / "cursor").write_bytes(damage)
    assert opened(tmp_path).read(9) == entries(1, 3)


def test_a_cursor_past_a_cut_tail_does_not_hide_new_records(tmp_path: Path) -> None:
    spool = opened(tmp_path)
    spool.append(entries(1, 3))
    spool.acknowledge(2)
    spool.close()
    segments(tmp_path)[0].write_bytes(b"")
    again = opened(tmp_path)
    assert again.read(9) == []
    again.append([entry(4)])
    again.close()
    assert opened(tmp_path).read(9) == [entry(4)]


def test_a_full_spool_keeps_nothing_of_the_call(tmp_path: Path) -> None:
    spool = opened(tmp_path, limit_bytes=400)
    spool.append(entries(1, 2))
    with pytest.raises(SpoolFull, match="of 400 bytes"):
        spool.append(entries(3, 30))
    assert spool.read(99) == entries(1, 2)
    spool.append(entries(3, 3))
    assert len(spool) == 3


def test_room_comes_back_with_acknowledging(tmp_path: Path) -> None:
    spool = opened(tmp_path, limit_bytes=400)
    spool.append(entries(1, 5))
    with pytest.raises(SpoolFull):
        spool.append(entries(6, 10))
    spool.acknowledge(5)
    spool.append(entries(6, 10))
    assert spool.read(99) == entries(6, 10)


def test_a_failing_disk_leaves_no_half_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = opened(tmp_path)
    spool.append(entries(1, 2))

    def fail(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(module.os, "fsync", fail)
        with pytest.raises(SpoolFull, match="No space left"):
            spool.append(entries(3, 4))
    assert spool.size_bytes == segments(tmp_path)[0].stat().st_size
    spool.append(entries(5, 5))
    spool.close()
    assert opened(tmp_path).read(9) == [*entries(1, 2), entry(5)]


WRITER = """
import sys
from pathlib import Path
from ray_pipeline.stream.publishing_ports import OutboxRecord
from ray_pipeline.storage.spool import Spool

spool = Spool(Path(sys.argv[1]), limit_bytes=2**30)
seq = 0
while True:
    spool.append([OutboxRecord(1, seq + one, 0, b"k", b"v" * 500) for one in range(1, 51)])
    seq += 50
    print(seq, flush=True)
"""


def test_what_was_appended_survives_kill_9(tmp_path: Path) -> None:
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert writer.stdout is not None
    with writer:
        for _ in range(20):
            kept = int(writer.stdout.readline())
        writer.kill()
    found = opened(tmp_path).read(10**6)
    assert [one.seq for one in found] == list(range(1, len(found) + 1))
    assert len(found) >= kept
