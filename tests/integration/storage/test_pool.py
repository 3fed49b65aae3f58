"""The pool of readers on a real Postgres."""

import asyncio

import psycopg
import pytest

from ray_pipeline.errors import DatabaseUnavailable, MigrationError
from ray_pipeline.storage.postgres import pool as pool_module
from ray_pipeline.storage.postgres.pool import Pool
from tests.support import scalar

CONNECTIONS = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'test pool'"


@pytest.fixture
async def pool(postgres_dsn):
    pool = Pool(postgres_dsn, size=2, name="test pool")
    yield pool
    await pool.close()


async def test_a_pool_opens_no_more_connections_than_its_size(pool, postgres_dsn):
    """Further reads wait for a free connection."""
    await asyncio.gather(*(pool.read(scalar, "SELECT pg_sleep(0.05)") for _ in range(8)))

    with psycopg.connect(postgres_dsn) as connection:
        assert connection.execute(CONNECTIONS).fetchone()[0] <= 2


async def test_a_read_is_repeated_if_its_idle_connection_was_dead(pool, postgres_dsn):
    """Its caller does not notice that the server restarted."""
    await pool.read(scalar, "SELECT 1")
    with psycopg.connect(postgres_dsn, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE application_name = 'test pool'"
        )

    assert await pool.read(scalar, "SELECT 7") == 7


async def test_a_pool_only_reads(pool):
    """A mistake in a query cannot change the history."""
    with pytest.raises(DatabaseUnavailable, match="25006"):
        await pool.read(scalar, "CREATE TABLE written (n int)")


async def test_a_missing_table_names_the_command_that_makes_it(pool):
    """A database without migrations is the usual mistake of the first day."""
    with pytest.raises(MigrationError, match="migrate"):
        await pool.read(scalar, "SELECT 1 FROM no_such_table")


async def test_a_query_that_takes_too_long_is_cancelled_at_the_server(
    postgres_dsn, monkeypatch, pool
):
    """A client that stops waiting does not end a query, so the server has the limit too."""
    monkeypatch.setattr(pool_module, "QUERY_TIMEOUT_S", 0.3)

    with pytest.raises(DatabaseUnavailable):
        await pool.read(scalar, "SELECT pg_sleep(60)")

    assert await pool.read(scalar, "SELECT 7") == 7
