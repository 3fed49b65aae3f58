"""How records become parts of the archive."""

from itertools import chain

from hypothesis import given
from hypothesis import strategies as st

from ray_pipeline.stream.archive_layout import (
    UNKNOWN_DAY,
    ArchivePart,
    ArchivePosition,
    day,
    in_order,
    part_of,
    resume_positions,
    runs,
)
from ray_pipeline.stream.batch import Message

DAY_MS = 86_400_000


def message(offset: int, timestamp_ms: int = 0, *, partition: int = 0) -> Message:
    return Message(partition, offset, timestamp_ms, b"k", b"v%d" % offset)


def part(
    first: int, last: int, *, partition: int = 0, log: int = 0, date: str = "x"
) -> ArchivePart:
    return ArchivePart("t", partition, log, date, first, last, last - first + 1, 0)


@given(st.lists(st.integers(0, 5 * DAY_MS), max_size=30))
def test_runs_keep_every_record_in_its_order(times_ms):
    records = [message(offset, time_ms) for offset, time_ms in enumerate(times_ms)]

    assert list(chain.from_iterable(runs(records))) == records


def test_a_new_day_begins_a_new_run():
    records = [message(0, DAY_MS - 1), message(1, DAY_MS), message(2, DAY_MS + 1)]

    assert [len(run) for run in runs(records)] == [1, 2]


def test_a_late_record_at_midnight_does_not_cut_the_run():
    records = [message(0, DAY_MS), message(1, DAY_MS - 1), message(2, DAY_MS)]

    assert [len(run) for run in runs(records)] == [3]


def test_a_part_is_named_by_what_it_holds():
    made = part_of("bithumb-ticker", [message(5), message(9)], log=0, missing=0)

    assert made.path == "date=1970-01-01/part-bithumb-ticker-0-5-9.parquet"
    assert made.rows == 2


def test_parts_of_a_log_that_began_again_have_names_of_their_own():
    """The same offsets may come twice, with other records."""
    first, second = (part_of("t", [message(0)], log=log, missing=0) for log in (0, 1))

    assert first.path != second.path


def test_the_archive_goes_on_behind_the_last_part_of_each_partition():
    found = resume_positions([part(0, 9), part(0, 4, partition=1), part(10, 19), part(0, 2, log=1)])

    assert found == {0: ArchivePosition(1, 3, 0), 1: ArchivePosition(0, 5, 0)}


def test_a_replay_takes_the_days_asked_for_log_by_log():
    parts = [
        part(0, 2, log=1, date="2026-01-03"),
        part(10, 19, date="2026-01-02"),
        part(0, 9, date="2026-01-01"),
    ]

    found = in_order(parts, first_day="2026-01-02", last_day="2026-01-03")

    assert found == {0: [parts[1], parts[0]]}


def test_a_time_past_the_calendar_has_a_day_all_the_same():
    assert day(10**18) == UNKNOWN_DAY
