"""What a consumer writes about itself: heartbeats, and ranges that stay missing."""

import asyncio
from collections.abc import Iterable

import pytest

from ray_pipeline.errors import DatabaseUnavailable
from ray_pipeline.stream.consume import STORING, WAITING_FOR_BROKER
from ray_pipeline.stream.consumer_ports import ConsumerBeat, ConsumerStatus
from ray_pipeline.stream.consumer_reports import (
    MISSING_EVERY_S,
    MISSING_GRACE_S,
    ConsumerReports,
)
from ray_pipeline.stream.missing import MissingRange, SequenceNumbers
from ray_pipeline.stream.sequence import RangeSet
from tests.fake_feed import running
from tests.virtual_time import now_s, until_s, virtual_time

FIRST_CHECK_S = MISSING_EVERY_S
EXPIRED_S = FIRST_CHECK_S + MISSING_GRACE_S
LATER_S = 10 * MISSING_GRACE_S


class FakeRecords:
    """The database: a written range is lost from then on."""

    def __init__(self) -> None:
        self.beats: list[ConsumerBeat] = []
        self.seen: dict[tuple[int, int], RangeSet] = {}
        self.lost: dict[tuple[int, int], RangeSet] = {}
        self.written: list[tuple[float, MissingRange, str]] = []
        self.away = ""
        self.elsewhere = 0

    def check(self) -> None:
        if self.away:
            raise DatabaseUnavailable(self.away)

    async def write_beats(self, beats: Iterable[ConsumerBeat]) -> None:
        self.check()
        self.beats += beats

    async def waiting(self) -> int:
        self.check()
        return self.elsewhere

    async def read_numbers(self) -> SequenceNumbers:
        self.check()
        return SequenceNumbers(self.seen, self.lost, {})

    async def write_missing(self, ranges: Iterable[MissingRange], *, cause: str) -> None:
        self.check()
        for item in ranges:
            self.written.append((now_s(), item, cause))
            lost = self.lost.setdefault((item.shard, item.epoch), RangeSet())
            lost.add(item.first, item.last + 1)

    async def write_reset(self, partition: int, *, cause: str) -> None:
        raise AssertionError("a report resets nothing")

    async def close(self) -> None:
        """Nothing is open."""

    @property
    def ranges(self) -> list[MissingRange]:
        """The written ranges."""
        return [item for _, item, _ in self.written]


class SuspendingSleep:
    """Sleeps much longer than it must, once: the process was suspended meanwhile."""

    def __init__(self, sleep, *, number: int, for_s: float) -> None:
        self._sleep, self._left, self._for_s = sleep, number, for_s

    async def __call__(self, delay_s: float) -> None:
        self._left -= 1
        await self._sleep(delay_s + (self._for_s if self._left == 0 else 0.0))

    def end_s(self, begun_s: float) -> float:
        """When the suspension ends that began after a check at `begun_s`."""
        return begun_s + MISSING_EVERY_S + self._for_s


class Bench:
    """The reports of a consumer of partitions 0 and 2 of three."""

    def __init__(self) -> None:
        self.records = FakeRecords()
        self.status = ConsumerStatus(state=STORING, lag={0: 0, 2: 0})
        self.reports = ConsumerReports(
            self.records,
            self.status,
            situation=lambda: (self.status.state, self.status.cause),
            partitions=(0, 2),
            configured=3,
            monotonic_s=now_s,
            sleep=asyncio.sleep,
        )

    def lack(self, shard: int, first: int, last: int) -> None:
        """Let numbers of a shard's epoch 1 be missing between others."""
        self.records.seen[shard, 1] = RangeSet([(1, first), (last + 1, last + 5)])


@virtual_time
async def test_a_missing_range_waits_for_its_grace_and_is_written_once():
    """A record may still be on its way from another producer's spool."""
    bench = Bench()
    bench.lack(3, 5, 9)
    async with running(bench.reports.write_missing_ranges()):
        await until_s(EXPIRED_S - 0.5)
        assert bench.records.written == []
        await until_s(LATER_S)

    cause = "numbered by the producer, but not in the broker's log"
    assert bench.records.written == [(EXPIRED_S, MissingRange(3, 1, 5, 9), cause)]


@virtual_time
async def test_numbers_that_arrive_within_the_grace_are_not_missing():
    bench = Bench()
    bench.lack(3, 5, 9)
    async with running(bench.reports.write_missing_ranges()):
        await until_s(EXPIRED_S - 0.5)
        bench.records.seen[3, 1].add(5, 10)
        await until_s(LATER_S)

    assert bench.records.written == []


@virtual_time
async def test_only_shards_of_its_own_partitions_are_checked():
    """Another consumer may be about to store the others."""
    bench = Bench()
    for shard in (3, 4, 5):
        bench.lack(shard, 5, 9)
    async with running(bench.reports.write_missing_ranges()):
        await until_s(LATER_S)

    assert {item.shard for item in bench.records.ranges} == {3, 5}


@virtual_time
async def test_nothing_is_missing_while_records_wait_in_the_broker():
    """They may hold the numbers. The grace begins when everything was read."""
    bench = Bench()
    bench.lack(3, 5, 9)
    bench.status.lag = {0: 0, 2: 1}
    async with running(bench.reports.write_missing_ranges()):
        await until_s(LATER_S + 1)
        assert bench.records.written == []
        bench.status.lag = {0: 0, 2: 0}
        await until_s(2 * LATER_S)

    ((written_at_s, *_),) = bench.records.written
    assert written_at_s == LATER_S + EXPIRED_S


@virtual_time
async def test_nothing_is_missing_while_the_consumer_does_not_store():
    """Its lag is as old as its last poll."""
    bench = Bench()
    bench.lack(3, 5, 9)
    bench.status.enter(WAITING_FOR_BROKER, "it does not answer")
    async with running(bench.reports.write_missing_ranges()):
        await until_s(LATER_S)

    assert bench.records.written == []


@virtual_time
async def test_an_outage_of_the_database_delays_the_missing_ranges():
    """They are written once, after the outage."""
    bench = Bench()
    bench.lack(3, 5, 9)
    async with running(bench.reports.write_missing_ranges()):
        await until_s(FIRST_CHECK_S + 0.5)
        bench.records.away = "it does not answer"
        await until_s(EXPIRED_S + 0.5)
        bench.records.away = ""
        await until_s(LATER_S)

    ((written_at_s, *_),) = bench.records.written
    assert written_at_s >= EXPIRED_S + MISSING_EVERY_S


@virtual_time
@pytest.mark.parametrize("outage_s", [MISSING_GRACE_S + 1, 10 * MISSING_GRACE_S])
@pytest.mark.parametrize("kind", ["database", "state", "store"])
async def test_an_outage_begins_the_grace_again(kind, outage_s):
    """Numbers that were in flight before it are stored a moment after it: they are not lost."""
    bench = Bench()
    bench.lack(3, 5, 9)
    async with running(bench.reports.write_missing_ranges()):
        await until_s(FIRST_CHECK_S + 0.5)
        if kind == "database":
            bench.records.away = "it does not answer"
        elif kind == "state":
            bench.status.enter("waiting for postgres", "it does not answer")
        else:
            bench.status.read = 5  # a batch that waits for a lock
        end_s = FIRST_CHECK_S + 0.5 + outage_s
        await until_s(end_s)
        bench.records.away, bench.status.settled = "", bench.status.read
        bench.status.enter(STORING)
        await until_s(end_s + MISSING_GRACE_S - 0.5)
        assert bench.records.written == []
        bench.records.seen[3, 1].add(5, 10)
        await until_s(end_s + LATER_S)

    assert bench.records.written == []


@virtual_time
async def test_a_suspended_process_begins_the_grace_again():
    """It wakes up with the knowledge of the time before."""
    bench = Bench()
    bench.lack(3, 5, 9)
    bench.reports._sleep = suspended = SuspendingSleep(
        bench.reports._sleep, number=2, for_s=2 * MISSING_GRACE_S
    )
    async with running(bench.reports.write_missing_ranges()):
        await until_s(suspended.end_s(FIRST_CHECK_S) + MISSING_GRACE_S - 0.5)
        assert bench.records.written == []
        await until_s(suspended.end_s(FIRST_CHECK_S) + LATER_S)

    assert bench.records.ranges == [MissingRange(3, 1, 5, 9)]


@virtual_time
async def test_a_missing_range_of_a_busy_consumer_is_written():
    """It has records in flight at every check; what is in flight changes from check to check."""
    bench = Bench()
    bench.lack(3, 5, 9)
    async with running(bench.reports.write_missing_ranges()):
        for second in range(int(LATER_S)):
            bench.status.read, bench.status.settled = second * 1_000 + 500, second * 1_000
            bench.status.lag = {0: 100, 2: 100}
            await until_s(second + 1)

    ((written_at_s, item, _),) = bench.records.written
    assert item == MissingRange(3, 1, 5, 9)
    assert written_at_s <= EXPIRED_S + 2 * MISSING_EVERY_S


@virtual_time
async def test_what_an_ended_tenure_had_read_does_not_hold_up_the_check():
    """The next tenure reads it once more, or another consumer has stored it."""
    bench = Bench()
    bench.lack(3, 5, 9)
    bench.status.read = 500
    async with running(bench.reports.write_missing_ranges()):
        await until_s(FIRST_CHECK_S + 0.5)
        bench.status.begin()
        await until_s(LATER_S)

    assert bench.records.ranges == [MissingRange(3, 1, 5, 9)]


@virtual_time
async def test_a_heartbeat_a_second_describes_every_partition():
    """A partition that was not polled yet has no lag."""
    bench = Bench()
    bench.status.enter("waiting", "no broker")
    bench.status.lag, bench.status.redis_state = {2: 7}, "writing"
    async with running(bench.reports.send_beats()):
        await until_s(1.5)

    once = [
        ConsumerBeat(0, "waiting", "no broker", 0, "writing"),
        ConsumerBeat(2, "waiting", "no broker", 7, "writing"),
    ]
    assert bench.records.beats == once * 2


@virtual_time
async def test_an_outage_of_the_database_skips_heartbeats():
    """They begin again with the state of that moment."""
    bench = Bench()
    bench.records.away = "it does not answer"
    async with running(bench.reports.send_beats()):
        await until_s(3.5)
        bench.records.away = ""
        bench.status.enter(STORING)
        await until_s(4.5)

    assert [beat.state for beat in bench.records.beats] == [STORING, STORING]


@virtual_time
async def test_nothing_is_missing_while_records_wait_in_partitions_of_other_consumers():
    """A change of the number of partitions moves a shard: its earlier records are elsewhere."""
    bench = Bench()
    bench.lack(3, 5, 9)
    bench.records.elsewhere = 4
    async with running(bench.reports.write_missing_ranges()):
        await until_s(LATER_S)
        assert bench.records.written == []
        bench.records.elsewhere = 0
        await until_s(LATER_S + EXPIRED_S + MISSING_EVERY_S)

    assert len(bench.records.written) == 1
