"""A consumer's heartbeats and gaps on a real Postgres."""

from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from ray_pipeline.errors import DatabaseUnavailable
from ray_pipeline.feeds.feed_registry import feed_named
from ray_pipeline.storage.postgres import receipt_times
from ray_pipeline.storage.postgres.connection import session
from ray_pipeline.storage.postgres.consumer_records import PostgresConsumerRecords
from ray_pipeline.stream.cache import CacheUsage
from ray_pipeline.stream.consumer_ports import ConsumerBeat
from ray_pipeline.stream.missing import MissingRange
from tests.integration.storage.test_stream_store import Pipeline, trade_values
from tests.streams import rows
from tests.support import scalar

SP500 = feed_named("sp500")
TOPIC = "test-sp500"
NOW = datetime.now(UTC).replace(microsecond=0)
TIMES = "SELECT from_at, to_at FROM gaps ORDER BY first_seq"


def ago(seconds: float) -> datetime:
    """A time of receipt before the test."""
    return NOW - timedelta(seconds=seconds)


@pytest.fixture
async def pipeline(postgres_dsn):
    """A pipeline of sp500 that stores partition 0."""
    created = await Pipeline(postgres_dsn).open()
    yield created
    await created.store.close()


@pytest.fixture
async def records(postgres_dsn):
    """The records of a consumer of a topic with two partitions."""
    created = PostgresConsumerRecords(postgres_dsn, SP500, TOPIC, partitions=2, holder="a")
    yield created
    await created.close()


async def store(pipeline, seq: int, received_at: datetime, *, shard: int = 2, epoch: int = 1):
    """Store a record."""
    changes = {"created_at": received_at, "pod_index": shard, "epoch": epoch}
    await pipeline.put(*trade_values(seq, **changes))


def execute(dsn: str, query: str, *values: object) -> None:
    """Run a statement."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(query, values)


def beat(dsn: str, shard: int, *, published: int, safe_at: datetime, age_s: float = 0, **columns):
    """Write the heartbeat of a shard's producer."""
    execute(
        dsn,
        "INSERT INTO producer_epochs "
        "(feed, shard, epoch, holder, published, safe_at, heartbeat_at, stopped_at) "
        "VALUES ('sp500', %s, 1, 'p', %s, %s, %s, %s)",
        shard, published, safe_at, ago(age_s), columns.get("stopped_at"),
    )  # fmt: skip


async def test_heartbeats_continue_after_postgres_refused_one(postgres_dsn):
    """A refusal counts as an outage: it must not end the task that writes the heartbeats."""
    records = PostgresConsumerRecords(postgres_dsn, SP500, "topic", partitions=1, holder="a")
    beat = ConsumerBeat(0, "storing", "", 0, "writing", CacheUsage(1, 2, 3, 4.0, "why"))
    async with session(postgres_dsn, name="test") as connection:
        await connection.execute("ALTER TABLE consumer_state RENAME TO hidden")
        with pytest.raises(DatabaseUnavailable, match="migrate"):
            await records.write_beats([beat])
        await connection.execute("ALTER TABLE hidden RENAME TO consumer_state")

        await records.write_beats([beat])

        assert await scalar(connection, "SELECT count(*) FROM consumer_state") == 1
        cursor = await connection.execute(
            "SELECT redis_bytes, redis_budget_bytes, redis_retention_s, redis_shortened "
            "FROM consumer_state"
        )
        assert await cursor.fetchone() == (1, 3, 4.0, "why")
    await records.close()


# The times of missing ranges ----------------------------------------------------------------------


async def test_a_missing_range_lies_between_the_receipts_of_its_neighbours(
    pipeline, records, postgres_dsn
):
    """However much later it is written, and whatever the shard has received since."""
    for seq, age_s in ((1, 100), (2, 90), (6, 60), (7, 50), (11, 30), (12, 1)):
        await store(pipeline, seq, ago(age_s))
    await store(pipeline, 4, ago(5), shard=4)  # of another shard

    await records.write_missing([MissingRange(2, 1, 8, 10), MissingRange(2, 1, 3, 5)], cause="c")

    assert rows(postgres_dsn, TIMES) == [(ago(90), ago(60)), (ago(50), ago(30))]


@pytest.mark.parametrize("age_s", [10 * 60, 5 * 3600])
async def test_a_missing_range_of_long_ago_has_the_same_times(
    pipeline, records, postgres_dsn, age_s
):
    """After a long outage of Postgres, it is found hours late."""
    await store(pipeline, 1, ago(age_s + 20))
    await store(pipeline, 4, ago(age_s))
    await store(pipeline, 5, ago(1))

    await records.write_missing([MissingRange(2, 1, 2, 3)], cause="c")

    assert rows(postgres_dsn, TIMES) == [(ago(age_s + 20), ago(age_s))]


async def test_neighbours_without_a_row_widen_a_missing_range(pipeline, records, postgres_dsn):
    """The receipt of a dead letter is not in the history: the next row counts."""
    await store(pipeline, 1, ago(90))
    await pipeline.put(*trade_values(2, pod_index=2, created_at=ago(80), timestamp_ms=1))
    await pipeline.put(*trade_values(5, pod_index=2, created_at=ago(60), timestamp_ms=1))
    await store(pipeline, 8, ago(40))
    missing = [MissingRange(2, 1, 3, 4), MissingRange(2, 1, 6, 7)]

    await records.write_missing(missing, cause="c")

    assert rows(postgres_dsn, "SELECT count(*) FROM dead_letters") == [(2,)]
    assert rows(postgres_dsn, TIMES) == [(ago(90), ago(40))] * 2


async def test_the_first_numbers_of_an_epoch_begin_at_the_epoch_before(
    pipeline, records, postgres_dsn
):
    """Nothing of their own epoch was stored before them."""
    await store(pipeline, 9, ago(90), epoch=1)
    await store(pipeline, 3, ago(30), epoch=2)

    await records.write_missing([MissingRange(2, 2, 1, 2)], cause="c")

    assert rows(postgres_dsn, TIMES) == [(ago(90), ago(30))]


async def test_the_last_numbers_of_an_epoch_end_when_they_are_written(
    pipeline, records, postgres_dsn
):
    """The producer reports that they were published; nothing came after them."""
    await store(pipeline, 1, ago(90))

    await records.write_missing([MissingRange(2, 1, 2, 3)], cause="c")

    ((from_at, to_at),) = rows(postgres_dsn, TIMES)
    assert from_at == ago(90)
    assert to_at >= NOW


async def test_a_clock_that_was_set_back_leaves_the_times_in_order(pipeline, records, postgres_dsn):
    """The times of both neighbours lie in the gap."""
    await store(pipeline, 1, ago(10))
    await store(pipeline, 4, ago(60))

    await records.write_missing([MissingRange(2, 1, 2, 3)], cause="c")

    assert rows(postgres_dsn, TIMES) == [(ago(60), ago(10))]


async def test_a_scan_that_takes_too_long_leaves_the_gap_too_wide(
    pipeline, records, postgres_dsn, monkeypatch
):
    """The gap is written all the same, with what is known without the history."""
    monkeypatch.setattr(receipt_times, "SCAN_TIMEOUT_MS", 1)
    slow = receipt_times._SEGMENTS.replace("FROM {table}", "FROM {table}, pg_sleep(60)")
    monkeypatch.setattr(receipt_times, "_SEGMENTS", slow)
    await store(pipeline, 9, ago(90), epoch=1)
    await store(pipeline, 1, ago(60), epoch=2)
    await store(pipeline, 4, ago(30), epoch=2)

    await records.write_missing([MissingRange(2, 2, 2, 3)], cause="c")

    ((from_at, to_at),) = rows(postgres_dsn, TIMES)
    assert from_at == ago(90)
    assert to_at >= NOW


# The times of a lost log --------------------------------------------------------------------------


async def reset(records, dsn) -> datetime:
    """Return the begin of the gap of partition 0."""
    await records.write_reset(0, cause="c")
    ((from_at, to_at),) = rows(dsn, "SELECT from_at, to_at FROM gaps WHERE kind = 'broker_reset'")
    assert to_at >= NOW
    return from_at


async def test_a_lost_log_begins_at_the_receipt_of_the_last_stored_record(
    pipeline, records, postgres_dsn
):
    """Not at its commit, which is late if the consumer lags; the earliest shard decides."""
    await store(pipeline, 5, ago(60), shard=2)
    await store(pipeline, 5, ago(40), shard=4)
    for shard in (2, 4):
        beat(postgres_dsn, shard, published=9, safe_at=ago(2))

    assert await reset(records, postgres_dsn) == ago(60)


async def test_shards_and_topics_of_other_partitions_do_not_move_a_lost_log(
    pipeline, records, postgres_dsn
):
    """Another feed has partitions of the same numbers."""
    await store(pipeline, 5, ago(60), shard=2)
    await store(pipeline, 5, ago(900), shard=3)  # of partition 1
    await store(pipeline, 5, ago(9_000), shard=1002)  # a replay
    execute(
        postgres_dsn,
        "INSERT INTO stream_offsets (topic, partition, next_offset, updated_at) "
        "VALUES ('other', 0, 5, now())",
    )

    assert await reset(records, postgres_dsn) == ago(60)


async def test_a_quiet_shard_of_which_everything_is_stored_begins_at_its_safe_time(
    pipeline, records, postgres_dsn
):
    """Otherwise a shard without trades since yesterday would make the gap a day long."""
    await pipeline.put(*trade_values(*range(1, 6), pod_index=2, created_at=ago(80_000)))
    beat(postgres_dsn, 2, published=5, safe_at=ago(7))

    assert await reset(records, postgres_dsn) == ago(7)


@pytest.mark.parametrize("ended", ["stopped", "disappeared"])
async def test_a_producer_that_ended_does_not_move_a_lost_log(
    pipeline, records, postgres_dsn, ended
):
    """It published nothing that is not stored."""
    await pipeline.put(*trade_values(*range(1, 6), pod_index=4, created_at=ago(300_000)))
    await store(pipeline, 5, ago(60), shard=2)
    beat(postgres_dsn, 2, published=9, safe_at=ago(2))
    stopped_at = ago(299_000) if ended == "stopped" else None
    beat(postgres_dsn, 4, published=5, safe_at=ago(299_000), age_s=299_000, stopped_at=stopped_at)

    assert await reset(records, postgres_dsn) == ago(60)


async def test_a_stopped_producer_with_unstored_records_moves_a_lost_log(
    pipeline, records, postgres_dsn
):
    """The log lost its last records."""
    await pipeline.put(*trade_values(*range(1, 6), pod_index=4, created_at=ago(500)))
    await store(pipeline, 5, ago(60), shard=2)
    beat(postgres_dsn, 2, published=9, safe_at=ago(2))
    beat(postgres_dsn, 4, published=8, safe_at=ago(400), stopped_at=ago(400))

    assert await reset(records, postgres_dsn) == ago(500)


async def test_a_producer_with_a_clock_ahead_begins_a_lost_log_at_the_commit(
    pipeline, records, postgres_dsn
):
    """A gap must not begin in the future."""
    await store(pipeline, 5, NOW + timedelta(hours=1))
    beat(postgres_dsn, 2, published=9, safe_at=NOW + timedelta(hours=1))
    execute(postgres_dsn, "UPDATE stream_offsets SET updated_at = %s", ago(3))

    assert await reset(records, postgres_dsn) == ago(3)
