"""A consumer of partitions: what interrupts it, and what it waits out."""

import asyncio

import pytest

from ray_pipeline.stream import consumer_reports
from ray_pipeline.stream.missing import MissingRange, SequenceNumbers
from ray_pipeline.stream.sequence import RangeSet
from ray_pipeline.tasks import first_cause
from tests.consumer_bench import PATIENCE_S, TTL_S, Bench, value


@pytest.fixture
def bench() -> Bench:
    """A consumer that was not started."""
    return Bench()


async def test_a_stop_stores_what_was_read_and_releases_the_leases(bench):
    """The database is away until after the stop: the batch is still in memory then."""
    async with bench.running():
        await bench.until(lambda: bench.state == "storing")
        bench.database.away = "no database"
        bench.publish(1, 2)
        await bench.until(lambda: bench.state == "waiting for postgres")
        bench.consumer.stop()
        bench.database.away = ""

    assert bench.database.seqs == [1, 2]
    assert [item.value for item in bench.cache.values]
    assert bench.leases.released == ["consumer/trades/0"]
    assert bench.database.beats[-1].state == "stopped"


async def test_a_lost_lease_ends_the_tenure_and_the_next_one_has_a_newer_epoch(bench):
    """Another holder stores the partition meanwhile."""
    bench.publish(1)
    async with bench.running():
        await bench.stored(1)
        first_epoch = bench.database.epochs[0]
        bench.leases.other_holder = True
        await bench.until(lambda: bench.state == "waiting for its partitions")
        bench.publish(2)
        await bench.until(lambda: bench.leases.handovers != [])
        assert bench.database.seqs == [1]

        bench.leases.other_holder = False
        await bench.stored(1, 2)

    assert bench.database.epochs[0] > first_epoch


async def test_a_requested_lease_is_handed_over(bench):
    """A newer generation wants to store the partition."""
    async with bench.running():
        await bench.until(lambda: bench.state == "storing")
        assert bench.leases.released == []
        bench.leases.newer_generation = True
        await bench.until(lambda: bench.leases.released == ["consumer/trades/0"])


async def test_a_partition_claimed_by_another_consumer_is_not_stored(bench):
    """The claim fences the batch, even before the lease is known to be lost."""
    async with bench.running():
        await bench.until(lambda: bench.state == "storing")
        bench.database.epochs[0] = 1_000
        bench.publish(1)
        await bench.until(
            lambda: (
                bench.consumer.status.cause == "the partition has a newer owner"
                or bench.database.epochs[0] < 1_000
            )
        )
        await bench.stored(1)


@pytest.mark.parametrize("place", ["broker", "database"])
async def test_an_outage_at_the_start_is_waited_out_with_its_cause(bench, place):
    """The cause is shown while it lasts, and not after it."""
    side = getattr(bench, place)
    side.away = "it does not answer"
    bench.publish(1)

    async with bench.running():
        await bench.until(lambda: bench.state == "waiting")
        assert bench.consumer.status.cause == "it does not answer"
        if place == "broker":
            assert bench.leases.held == {}
        side.away = ""
        await bench.stored(1)
        await bench.until(lambda: (bench.state, bench.consumer.status.cause) == ("storing", ""))


async def test_an_outage_of_the_broker_while_storing_ends_without_a_record(bench):
    """A quiet topic must not show the outage until its next record."""
    async with bench.running():
        await bench.until(lambda: bench.state == "storing")
        bench.broker.away = "it does not answer"
        await bench.until(lambda: bench.state == "waiting for kafka")
        assert bench.consumer.status.cause == "it does not answer"
        bench.broker.away = ""
        await bench.until(lambda: (bench.state, bench.consumer.status.cause) == ("storing", ""))


async def test_a_pause_releases_the_partitions_until_it_is_resumed(bench):
    """Records wait in the broker."""
    async with bench.running():
        await bench.until(lambda: bench.state == "storing")
        bench.consumer.pause()
        await bench.until(lambda: bench.state == "paused")
        assert bench.leases.released == ["consumer/trades/0"]
        bench.publish(1)
        await asyncio.sleep(TTL_S)
        assert bench.database.seqs == []

        bench.consumer.resume()
        await bench.stored(1)


async def test_a_paused_consumer_can_be_stopped(bench):
    """It takes no lease to do so."""
    bench.consumer.pause()
    async with bench.running():
        await bench.until(lambda: bench.state == "paused")

    assert bench.leases.held == {}
    assert bench.state == "stopped"


async def test_a_range_that_stays_missing_becomes_a_gap(bench, monkeypatch):
    """Only of shards in this consumer's partitions: the others are another consumer's."""
    monkeypatch.setattr(consumer_reports, "MISSING_GRACE_S", 0.0)
    bench = Bench(configured=2)
    bench.broker.values = {0: [], 1: []}
    seen = {(shard, 1): RangeSet([(1, 3), (5, 6)]) for shard in (0, 1, 2)}
    bench.database.numbers = SequenceNumbers(seen, {}, {})

    async with bench.running():
        await bench.until(lambda: len(bench.database.missing) >= 2)

    assert set(bench.database.missing) == {MissingRange(0, 1, 3, 4), MissingRange(2, 1, 3, 4)}


async def test_nothing_is_missing_while_records_wait_in_the_broker(bench, monkeypatch):
    """They may hold the number."""
    monkeypatch.setattr(consumer_reports, "MISSING_GRACE_S", 0.0)
    bench = Bench()
    bench.database.numbers = SequenceNumbers({(0, 1): RangeSet([(2, 3)])}, {}, {})
    bench.broker.away = "it does not answer"

    async with bench.running():
        await asyncio.sleep(0.05)

    assert bench.database.missing == []


async def test_stored_offsets_are_reported(bench):
    """Tools that show a group's lag read them."""
    bench.publish(1, 2)

    async with bench.running():
        await bench.until(lambda: dict(bench.reporter.offsets) == {0: 2})


async def test_an_unexpected_error_ends_the_consumer(bench):
    """The process restarts; waiting would hide a bug. The last heartbeat names it."""
    bench.database.bug = "a bug"

    with pytest.raises(ExceptionGroup) as raised:
        await asyncio.wait_for(bench.consumer.run(), PATIENCE_S)

    assert str(first_cause(raised.value)) == "a bug"
    last = bench.database.beats[-1]
    assert (last.state, last.cause) == ("failed", "PipelineError: a bug; the actor restarts")


@pytest.mark.parametrize("task", ["beats", "numbers", "renewal", "cache", "reporter"])
async def test_a_background_task_that_fails_ends_the_consumer(bench, task):
    """A consumer without it would seem to store, without gaps, heartbeats, a lease or a cache."""

    async def fail(*_args, **_kwargs):
        raise ValueError("a bug")

    async with asyncio.timeout(PATIENCE_S):
        running = asyncio.create_task(bench.consumer.run())
        await bench.until(lambda: bench.state == "storing")
        if task == "beats":
            bench.records.write_beats = fail
        elif task == "numbers":
            bench.records.read_numbers = fail
        elif task == "renewal":
            bench.leases.renew = fail
        elif task == "cache":
            bench.cache.write = fail
            bench.publish(1)
        else:
            bench.reporter.report = fail
        with pytest.raises(ExceptionGroup) as raised:
            await running

    assert str(first_cause(raised.value)) == "a bug"
    assert bench.state == "failed"
    assert bench.leases.released == ["consumer/trades/0"]


async def test_a_lease_that_is_not_renewed_is_shown_also_while_the_topic_is_quiet(bench):
    """A read-only database refuses the renewals; no batch fails, because none arrives."""
    async with bench.running():
        await bench.until(lambda: bench.state == "storing")
        bench.leases.away = "cannot execute UPDATE in a read-only transaction"
        await bench.until(lambda: bench.consumer.situation()[0] == "waiting for postgres")
        assert bench.consumer.situation()[1] == bench.leases.away
        bench.leases.away = ""
        await bench.until(lambda: bench.consumer.situation() == ("storing", ""))


async def test_a_broker_that_does_not_answer_is_shown_although_the_client_reports_no_error(bench):
    """A frozen broker looks like a quiet topic; what it holds is unknown."""
    async with bench.running():
        await bench.until(lambda: bench.consumer.situation() == ("storing", ""))
        bench.broker.silent.add(0)
        await bench.until(lambda: bench.consumer.situation()[0] == "waiting for kafka")
        await bench.until(lambda: bench.database.beats[-1].state == "waiting for kafka")
        assert "partition 0" in bench.database.beats[-1].cause
        bench.broker.silent.clear()
        await bench.until(lambda: bench.consumer.situation() == ("storing", ""))


async def test_partitions_beyond_the_settings_are_stored_too(bench):
    """An operator grew the topic, or another program writes with Kafka's own partitioner."""
    bench.broker.values = {0: [value(1)], 1: [value(2)], 2: [value(3)]}

    async with bench.running():
        await bench.until(lambda: len(bench.database.seqs) == 3)

    assert set(bench.database.epochs) == {0, 1, 2}


async def test_a_partition_that_appears_while_the_consumer_stores_is_stored(bench):
    """The tenure ends, and the next one begins with the new partition."""
    bench.broker.values = {0: [value(1)]}

    async with bench.running():
        await bench.until(lambda: bench.database.seqs == [1])
        bench.broker.values[1] = [value(2)]
        await bench.until(lambda: bench.database.seqs == [1, 2])


async def test_a_configured_partition_that_the_topic_lacks_is_reported_absent():
    """Its records cannot exist; a state of storing and a lag of 0 would hide that."""
    bench = Bench(configured=2, partitions=[0, 1])
    bench.broker.values = {0: [value(1)]}

    async with bench.running():
        await bench.until(lambda: bench.database.seqs == [1])
        await bench.until(lambda: any(beat.state == "absent" for beat in bench.database.beats))

    absent = {
        (beat.partition, beat.cause) for beat in bench.database.beats if beat.state == "absent"
    }
    assert absent == {(1, "the topic has 1 of 2 partitions")}


async def test_a_consumer_without_any_partition_in_the_topic_waits_and_says_so():
    """The topic has one partition; this consumer's is the second."""
    bench = Bench(configured=2, partitions=[1])
    bench.broker.values = {0: []}

    async with bench.running():
        await bench.until(lambda: "none of this consumer's: 1" in bench.consumer.status.cause)
        bench.broker.values[1] = [value(1)]
        await bench.until(lambda: bench.database.seqs == [1])
