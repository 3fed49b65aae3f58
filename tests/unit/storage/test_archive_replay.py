"""The order and the pace of a replay."""

from ray_pipeline.storage.archive_replay import ReplayPacer, Selection, feeds_in, records_of
from ray_pipeline.storage.parquet import Archive
from ray_pipeline.stream.batch import Message

DAY_MS = 86_400_000


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now_s = 500.0

    def __call__(self) -> float:
        return self.now_s


def message(partition: int, offset: int, timestamp_ms: int) -> Message:
    return Message(partition, offset, timestamp_ms, None, b"")


async def test_partitions_are_merged_by_time_and_days_can_be_chosen(tmp_path):
    archive = Archive(tmp_path, "sp500", rows_per_file=10, seconds_per_file=60)
    archive.open()
    records = [message(0, 0, 10), message(0, 1, DAY_MS), message(1, 0, 5), message(1, 1, 20)]
    archive.add("sp500-websocket-trades", records, now_s=0.0)
    await archive.flush()
    archive.close()

    ((spec, parts),) = feeds_in(tmp_path, Selection()).items()
    whole = records_of(tmp_path / spec.name, parts, Selection())
    first_day = records_of(tmp_path / spec.name, parts, Selection(last_day="1970-01-01"))

    assert [record.timestamp_ms for record in whole] == [5, 10, 20, DAY_MS]
    assert [record.timestamp_ms for record in first_day] == [5, 10, 20]


def test_the_pace_is_that_of_the_records_divided_by_the_speed():
    clock = Clock()
    pacer = ReplayPacer(2.0, clock)

    assert pacer.pause_s(10_000) == 0.0
    assert pacer.pause_s(14_000) == 2.0
    clock.now_s += 5.0
    assert pacer.pause_s(14_000) == 0.0


def test_without_a_speed_nothing_waits():
    assert ReplayPacer(None).pause_s(10**15) == 0.0
