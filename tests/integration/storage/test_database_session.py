"""A session on a real Postgres: it reconnects, and it never mixes up two answers."""

import asyncio

import psycopg
import pytest
from psycopg import sql

from ray_pipeline.errors import DatabaseUnavailable
from ray_pipeline.storage.postgres.database_session import DatabaseSession
from tests.support import scalar

PID = "SELECT pg_backend_pid()"


@pytest.fixture
async def database(postgres_dsn):
    database = DatabaseSession(
        postgres_dsn, name="test session", setup=[sql.SQL("SET lock_timeout = '7s'")]
    )
    yield database
    await database.close()


async def pid(database: DatabaseSession) -> object:
    async with database.connection() as connection:
        return await scalar(connection, PID)


async def test_blocks_share_one_connection(database):
    """Also if they start at once: each waits for its turn."""
    assert len(set(await asyncio.gather(*(pid(database) for _ in range(5))))) == 1


async def test_a_killed_connection_is_an_outage_and_is_replaced(database, postgres_dsn):
    """The block that used it fails; the next has a new connection with its settings."""
    first = await pid(database)
    with psycopg.connect(postgres_dsn, autocommit=True) as other:
        other.execute("SELECT pg_terminate_backend(%s)", (first,))
    with pytest.raises(DatabaseUnavailable):
        await pid(database)

    async with database.connection() as connection:
        assert await scalar(connection, PID) != first
        assert await scalar(connection, "SHOW lock_timeout") == "7s"


async def test_a_slow_statement_is_an_outage(postgres_dsn):
    """The statement is abandoned together with its connection."""
    database = DatabaseSession(postgres_dsn, name="test", timeout_s=0.2)
    with pytest.raises(DatabaseUnavailable):
        async with database.connection() as connection:
            await connection.execute("SELECT pg_sleep(60)")
    await database.close()


async def test_the_answer_of_an_interrupted_statement_is_not_read_by_the_next(database):
    """A cancelled block closes its connection."""

    async def sleep() -> None:
        async with database.connection() as connection:
            await connection.execute("SELECT pg_sleep(60)")

    first = await pid(database)
    task = asyncio.create_task(sleep())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    async with database.connection() as connection:
        assert await scalar(connection, "SELECT 42") == 42
    assert first is not None
