"""Faults of Postgres, Kafka and Redis."""

import asyncio
import contextlib
import shutil
from collections.abc import AsyncIterator, Callable

import psycopg
import redis

from ray_pipeline.feeds.feed_registry import feed_named
from tests.chaos.processes import in_thread
from tests.chaos.servers import copy_files, start_from
from tests.chaos.stack import FEEDS, Stack

TABLES = [feed_named(feed).table for feed in FEEDS]


async def postgres_kill(stack: Stack, _: str, lasts_s: float) -> None:
    """kill -9 of the server, and a restart."""
    async with _restarted(stack.postgres.kill, stack.postgres.start):
        await asyncio.sleep(lasts_s)


async def postgres_restart(stack: Stack, _: str, lasts_s: float) -> None:
    """A fast shutdown, and a restart."""
    async with _restarted(stack.postgres.stop, stack.postgres.start):
        await asyncio.sleep(lasts_s)


async def postgres_freeze(stack: Stack, _: str, lasts_s: float) -> None:
    """SIGSTOP of the server and its backends."""
    await _frozen(stack.postgres.pause, stack.postgres.resume, lasts_s)


async def postgres_read_only(stack: Stack, _: str, lasts_s: float) -> None:
    """Every transaction is read-only, as on a replica after a failover."""
    reload = "SELECT pg_reload_conf()"
    await _execute(stack, "ALTER SYSTEM SET default_transaction_read_only = on", reload)
    try:
        await asyncio.sleep(lasts_s)
    finally:
        await _execute(
            stack,
            "SET default_transaction_read_only = off",
            "ALTER SYSTEM RESET default_transaction_read_only",
            reload,
        )


async def postgres_disk_full(stack: Stack, _: str, lasts_s: float) -> None:
    """Every write of history fails with 53100."""
    await _execute(
        stack,
        "CREATE OR REPLACE FUNCTION chaos_disk_full() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION 'could not extend file: No space left on device' "
        "USING ERRCODE = '53100'; END $$",
        *(
            f"CREATE OR REPLACE TRIGGER chaos_disk_full BEFORE INSERT ON {table} "
            "FOR EACH ROW EXECUTE FUNCTION chaos_disk_full()"
            for table in TABLES
        ),
    )
    try:
        await asyncio.sleep(lasts_s)
    finally:
        await _execute(
            stack, *(f"DROP TRIGGER IF EXISTS chaos_disk_full ON {table}" for table in TABLES)
        )


async def postgres_lacks_column(stack: Stack, _: str, lasts_s: float) -> None:
    """The history lacks a column, as between two migrations."""
    table = "ALTER TABLE sp500_websocket_trades"
    await _execute(stack, f"{table} RENAME trade_conditions TO renamed")
    try:
        await asyncio.sleep(lasts_s)
    finally:
        await _execute(stack, f"{table} RENAME renamed TO trade_conditions")


async def postgres_terminate(stack: Stack, _: str, __: float) -> None:
    """Terminate every connection of the pipeline."""
    await _execute(
        stack,
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()",
    )


async def kafka_kill(stack: Stack, _: str, lasts_s: float) -> None:
    """kill -9 of the broker, and a restart."""
    async with _restarted(stack.kafka.kill, stack.kafka.start):
        await asyncio.sleep(lasts_s)


async def kafka_freeze(stack: Stack, _: str, lasts_s: float) -> None:
    """SIGSTOP of the broker."""
    await _frozen(stack.kafka.pause, stack.kafka.resume, lasts_s)


async def kafka_lose_data(stack: Stack, _: str, lasts_s: float) -> None:
    """The broker restarts without its topics and records."""

    def start_empty() -> None:
        shutil.rmtree(stack.kafka.directory / "data")
        stack.kafka.start()

    try:
        async with _restarted(stack.kafka.kill, start_empty):
            await asyncio.sleep(lasts_s)
    finally:
        await stack.make_topics()


async def redis_kill(stack: Stack, _: str, lasts_s: float) -> None:
    """kill -9, and a restart."""
    async with _restarted(stack.redis.kill, stack.redis.start):
        await asyncio.sleep(lasts_s)


async def redis_freeze(stack: Stack, _: str, lasts_s: float) -> None:
    """SIGSTOP of Redis."""
    await _frozen(stack.redis.pause, stack.redis.resume, lasts_s)


async def redis_flush(stack: Stack, _: str, __: float) -> None:
    """FLUSHALL."""

    def flush() -> None:
        with redis.Redis.from_url(stack.redis.url) as client:
            client.flushall()

    await in_thread(flush)


async def redis_old_copy(stack: Stack, _: str, lasts_s: float) -> None:
    """Redis is restored from a copy of its files that is some seconds old."""
    copy = await asyncio.to_thread(copy_files, stack.redis)
    await asyncio.sleep(lasts_s)
    await in_thread(stack.redis.kill)
    await in_thread(lambda: start_from(stack.redis, copy))


async def _execute(stack: Stack, *statements: str) -> None:
    async with await psycopg.AsyncConnection.connect(
        stack.postgres.dsn, autocommit=True
    ) as connection:
        for statement in statements:
            await connection.execute(statement)


@contextlib.asynccontextmanager
async def _restarted(end: Callable[[], None], start: Callable[[], None]) -> AsyncIterator[None]:
    await in_thread(end)
    try:
        yield
    finally:
        await in_thread(start)


async def _frozen(freeze: Callable[[], None], thaw: Callable[[], None], lasts_s: float) -> None:
    freeze()
    try:
        await asyncio.sleep(lasts_s)
    finally:
        thaw()
