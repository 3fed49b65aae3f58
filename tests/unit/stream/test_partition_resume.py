"""Where a partition resumes, and how a replaced log is recognised."""

import zlib

import pytest

from ray_pipeline.stream.consumer_ports import ResumePoint
from tests.consumer_bench import Bench, value


@pytest.fixture
def bench() -> Bench:
    """A consumer that was not started."""
    return Bench()


async def test_it_resumes_at_the_stored_offset(bench):
    """The records before were stored with the offset."""
    bench.publish(1, 2, 3)
    bench.database.points[0] = ResumePoint(2, zlib.crc32(value(2)))

    async with bench.running():
        await bench.stored(3)

    assert bench.database.resets == []


async def test_a_fresh_partition_starts_at_the_beginning_of_the_log(bench):
    """Offset 0 may be gone already."""
    bench.broker.first = 7
    bench.publish(1, 2)

    async with bench.running():
        await bench.stored(1, 2)

    assert bench.database.points[0].next_offset == 9
    assert bench.database.resets == []


async def test_a_log_that_is_shorter_than_what_was_stored_was_replaced(bench):
    """It becomes a gap, and the new log is read from its beginning."""
    bench.publish(1, 2)
    bench.database.points[0] = ResumePoint(50, 4711)

    async with bench.running():
        await bench.stored(1, 2)

    assert bench.database.resets == ["broker lost the log of trades/0: stored up to 50, log 0..2"]


async def test_a_log_with_another_record_before_the_offset_was_replaced(bench):
    """The bounds are plausible; the checksum of the last stored record is not."""
    bench.publish(1, 2, 3)
    bench.database.points[0] = ResumePoint(2, zlib.crc32(value(99)))

    async with bench.running():
        await bench.stored(1, 2, 3)

    assert bench.database.resets == ["broker lost the log of trades/0: stored up to 2, log 0..3"]


async def test_without_a_record_before_the_offset_the_log_is_taken_for_the_same(bench):
    """The broker has deleted what was stored, which retention does."""
    bench.broker.first = 2
    bench.publish(3)
    bench.database.points[0] = ResumePoint(2, zlib.crc32(value(2)))

    async with bench.running():
        await bench.stored(3)

    assert bench.database.resets == []
