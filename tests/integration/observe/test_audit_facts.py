"""The audit on real stores: each fault is put in by hand, and found."""

import asyncio
import json
from collections.abc import AsyncIterator

import pytest
import redis.asyncio as aioredis

from ray_pipeline.feeds.feed_registry import feed_named
from ray_pipeline.observe.audit import Audit, FeedAudit
from ray_pipeline.settings import KafkaSettings, PostgresSettings, RedisSettings, Settings
from ray_pipeline.storage.audit_facts import run_audit
from ray_pipeline.storage.postgres.connection import Connection, session
from ray_pipeline.storage.redis.latest_cache import versions_key

SYMBOLS = ("AAPL", "MSFT", "NVDA")
RECORDS = 30
PREFIX = feed_named("sp500").redis.prefix
EVENT_MS = 1_700_000_000_000


@pytest.fixture
def settings(postgres_dsn, redis_url, tansu_server, topic_prefix) -> Settings:
    return Settings(
        postgres=PostgresSettings(dsn=postgres_dsn),
        redis=RedisSettings(url=redis_url),
        kafka=KafkaSettings(
            bootstrap_servers=tansu_server.bootstrap_servers, topic_prefix=topic_prefix
        ),
    )


@pytest.fixture
async def database(settings) -> AsyncIterator[Connection]:
    """Thirty records of one shard, stored and accounted for."""
    async with session(settings.postgres_dsn(), name="test") as connection:
        await connection.execute(
            "INSERT INTO sp500_websocket_trades "
            "(symbol, price, timestamp_ms, pod_index, created_at, epoch, seq) "
            "SELECT (%s::text[])[1 + n %% 3], 1, %s + n, 2, now() AT TIME ZONE 'UTC', 5, n "
            "FROM generate_series(1, %s) AS n",
            (list(SYMBOLS), EVENT_MS, RECORDS),
        )
        await connection.execute(
            "INSERT INTO stream_sequences (feed, shard, epoch, seen, stored) "
            "VALUES ('sp500', 2, 5, int8multirange(int8range(1, %s)), %s)",
            (RECORDS + 1, RECORDS),
        )
        await connection.execute(
            "INSERT INTO producer_epochs (feed, shard, epoch, holder, published) "
            "VALUES ('sp500', 2, 5, 'test', %s)",
            (RECORDS,),
        )
        yield connection


@pytest.fixture
async def cache(settings, database) -> AsyncIterator["aioredis.Redis"]:
    client = aioredis.Redis.from_url(settings.redis_url())
    for symbol, newest in zip(SYMBOLS, (RECORDS, RECORDS - 2, RECORDS - 1), strict=True):
        await put(client, symbol, EVENT_MS + newest)
    yield client
    await client.aclose()


async def put(client: "aioredis.Redis", symbol: str, event_ms: int) -> None:
    await client.set(f"latest:{PREFIX}:{symbol}", json.dumps({"event_time_ms": event_ms}))
    await client.hset(versions_key("sp500"), symbol, str(event_ms))


async def problems(settings: Settings) -> list[tuple[str, int]]:
    """Return what is wrong with the feed: kind and count."""
    verdict = await run_audit(settings, wait_s=0)
    assert not verdict.problems
    return [(problem.kind, problem.count) for problem in sp500(verdict).problems]


def sp500(verdict: Audit) -> FeedAudit:
    return next(one for one in verdict.feeds if one.feed == "sp500")


async def test_an_accounted_shard_is_clean(settings, cache):
    verdict = await run_audit(settings, wait_s=0)

    assert verdict.clean, verdict
    assert (sp500(verdict).published, sp500(verdict).stored) == (RECORDS, RECORDS)


async def test_a_deleted_row_is_found(settings, cache, database):
    await database.execute("DELETE FROM sp500_websocket_trades WHERE seq = 7")

    assert await problems(settings) == [("rows", 1)]


async def test_a_doubled_row_is_found(settings, cache, database):
    """The key would not let it in; an audit must not rely on the key."""
    await database.execute(
        "ALTER TABLE sp500_websocket_trades DROP CONSTRAINT sp500_websocket_trades_pkey"
    )
    await database.execute(
        "INSERT INTO sp500_websocket_trades SELECT * FROM sp500_websocket_trades WHERE seq = 7"
    )

    assert await problems(settings) == [("duplicates", 1)]


async def test_a_row_that_nobody_counted_is_found(settings, cache, database):
    await database.execute(
        "INSERT INTO sp500_websocket_trades "
        "(symbol, price, timestamp_ms, pod_index, created_at, epoch, seq) "
        "VALUES ('AAPL', 1, 1, 9, now(), 1, 1)"
    )

    assert await problems(settings) == [("rows", 1)]


async def test_a_hole_in_the_numbers_is_found(settings, cache, database):
    await database.execute(
        "UPDATE stream_sequences SET seen = seen - '{[7,9)}'::int8multirange, stored = stored - 2"
    )
    await database.execute("DELETE FROM sp500_websocket_trades WHERE seq IN (7, 8)")

    verdict = await run_audit(settings, wait_s=0)

    assert sp500(verdict).missing == 2
    assert "(7-8)" in sp500(verdict).problems[0].text


async def test_a_hole_that_is_written_to_gaps_is_explained(settings, cache, database):
    await database.execute(
        "UPDATE stream_sequences SET seen = seen - '{[7,9)}'::int8multirange, stored = stored - 2, "
        "lost = '{[7,9)}'"
    )
    await database.execute("DELETE FROM sp500_websocket_trades WHERE seq IN (7, 8)")
    await database.execute(
        "INSERT INTO gaps (feed, shard, epoch, kind, first_seq, last_seq, cause) "
        "VALUES ('sp500', 2, 5, 'sequence', 7, 8, 'never arrived')"
    )

    verdict = await run_audit(settings, wait_s=0)

    assert verdict.clean, verdict
    assert (sp500(verdict).lost, sp500(verdict).gaps) == (2, 1)


async def test_a_loss_without_its_row_in_gaps_is_found(settings, cache, database):
    await database.execute(
        "UPDATE stream_sequences SET seen = seen - '{[7,9)}'::int8multirange, stored = stored - 2, "
        "lost = '{[7,9)}'"
    )
    await database.execute("DELETE FROM sp500_websocket_trades WHERE seq IN (7, 8)")

    assert await problems(settings) == [("gaps", 2)]


async def test_an_acknowledged_tail_that_never_arrived_is_found(settings, cache, database):
    """No hole shows it: only the producer's own word does."""
    await database.execute("UPDATE producer_epochs SET published = published + 4")

    assert await problems(settings) == [("missing", 4)]


async def test_a_stale_value_in_redis_is_found(settings, cache):
    await put(cache, "MSFT", EVENT_MS)

    assert await problems(settings) == [("redis_behind", 1)]


async def test_a_value_that_vanished_from_redis_is_found(settings, cache):
    await cache.delete(f"latest:{PREFIX}:NVDA")

    assert await problems(settings) == [("redis_behind", 1)]


async def test_a_symbol_that_redis_was_told_to_forget_is_not_behind(settings, cache, database):
    await database.execute("SELECT make_month_partition('sp500_websocket_trades', '2020-01-01')")
    await database.execute("UPDATE sp500_websocket_trades SET created_at = '2020-01-05'")
    await cache.flushdb()

    assert await problems(settings) == []


async def test_a_hole_that_closes_while_the_audit_waits_is_none(settings, cache, database):
    """The consumer is a little behind: the audit gives it time instead of judging at once."""
    await database.execute("UPDATE producer_epochs SET published = published + 1")
    await database.execute(
        "CREATE FUNCTION close_hole() RETURNS void LANGUAGE sql AS $$ "
        "UPDATE stream_sequences SET lost = '{[31,32)}'; "
        "INSERT INTO gaps (feed, shard, epoch, kind, first_seq, last_seq, cause) "
        "VALUES ('sp500', 2, 5, 'sequence', 31, 31, 'test') $$"
    )
    waiting = asyncio.create_task(run_audit(settings, wait_s=20))
    async with session(settings.postgres_dsn(), name="test") as other, asyncio.timeout(20):
        while not await _auditing(other):  # noqa: ASYNC110 - the other side is a database
            await asyncio.sleep(0)
        await other.execute("SELECT close_hole()")

    assert (await waiting).clean


async def _auditing(connection: Connection) -> bool:
    cursor = await connection.execute(
        "SELECT 1 FROM pg_stat_activity WHERE application_name = 'audit' "
        "AND query LIKE '%%stream_sequences%%' AND datname = current_database()"
    )
    return await cursor.fetchone() is not None


async def test_a_store_that_is_away_is_reported_with_its_fix(settings, cache):
    away = settings.model_copy(
        update={
            "redis": RedisSettings(url="redis://127.0.0.1:1/0"),
            "kafka": KafkaSettings(bootstrap_servers="127.0.0.1:1"),
        }
    )

    verdict = await run_audit(away, wait_s=0)

    assert not verdict.clean
    assert [problem.text.split(":")[0] for problem in verdict.problems] == ["Kafka", "Redis"]
    assert all(problem.fix for problem in verdict.problems)
