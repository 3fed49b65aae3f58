"""Migrations on a real Postgres."""

import asyncio
from datetime import UTC, datetime

import pytest

from ray_pipeline.errors import DatabaseUnavailable, MigrationError
from ray_pipeline.storage.migrations import ensure_partitions, migrate, unapplied
from ray_pipeline.storage.postgres.connection import session
from tests.support import scalar

PARTITIONS = "SELECT count(*) FROM pg_inherits WHERE inhparent = 'sp500_websocket_trades'::regclass"


async def test_a_second_run_changes_nothing(empty_dsn):
    first = await migrate(empty_dsn)

    assert first[0] == "0001_streaming"
    assert await migrate(empty_dsn) == []


async def test_two_at_once_apply_each_file_once(empty_dsn):
    """Whoever comes second waits, and then finds nothing to do."""
    first, second = await asyncio.gather(migrate(empty_dsn), migrate(empty_dsn))

    assert sorted([*first, *second]) == sorted(set(first) | set(second))


async def test_progress_names_each_file(empty_dsn):
    seen: list[str] = []

    assert await migrate(empty_dsn, on_progress=seen.append) == seen


async def test_a_failing_file_leaves_nothing_of_itself(empty_dsn, tmp_path):
    (tmp_path / "0001_bad.sql").write_text("CREATE TABLE half (); SELECT 1 / 0;")

    with pytest.raises(MigrationError, match="0001_bad failed: division by zero"):
        await migrate(empty_dsn, directory=tmp_path)

    async with session(empty_dsn, name="test") as connection:
        assert await scalar(connection, "SELECT to_regclass('half')") is None


async def test_an_unmigrated_database_lacks_everything_and_is_not_touched(empty_dsn):
    async with session(empty_dsn, name="test") as connection:
        assert "0001_streaming" in await unapplied(connection)
        assert await scalar(connection, "SELECT to_regclass('schema_migrations')") is None


async def test_partitions_are_there_for_this_month_and_the_next_two(empty_dsn):
    await migrate(empty_dsn)

    async with session(empty_dsn, name="test") as connection:
        assert await scalar(connection, PARTITIONS) == 3
        await ensure_partitions(connection, now=datetime(2031, 12, 5, tzinfo=UTC), months_ahead=1)
        assert await scalar(connection, PARTITIONS) == 5


async def test_an_absent_server_is_an_outage_with_its_fix():
    with pytest.raises(DatabaseUnavailable, match="PIPELINE_POSTGRES__DSN"):
        await migrate("postgresql://nobody:secret@127.0.0.1:1/none")
