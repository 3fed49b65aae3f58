"""Reading the gaps from a real Postgres."""

from datetime import UTC, datetime, timedelta

import pytest

from ray_pipeline.storage.postgres.connection import session
from ray_pipeline.storage.postgres.gap_rows import count_gaps, list_gaps

NOW = datetime(2026, 11, 2, 6, tzinfo=UTC)


@pytest.fixture
async def connection(postgres_dsn):
    """Three gaps of two feeds, an hour apart; the newest has the lowest id."""
    async with session(postgres_dsn, name="test") as connection:
        for feed, hours, symbols in (("sp500", 0, ["AAPL"]), ("upbit", 1, None), ("sp500", 2, [])):
            await connection.execute(
                "INSERT INTO gaps (feed, shard, epoch, kind, symbols, cause, recorded_at) "
                "VALUES (%s, 1, 2, 'disconnected', %s, 'test', %s)",
                (feed, symbols, NOW - timedelta(hours=hours)),
            )
        yield connection


async def test_gaps_are_listed_by_time(connection):
    """NULL for all symbols of the shard and an empty list are not the same."""
    gaps = await list_gaps(connection)

    assert [(gap.feed, gap.symbols) for gap in gaps] == [
        ("sp500", []), ("upbit", None), ("sp500", ["AAPL"]),
    ]  # fmt: skip


async def test_gaps_are_filtered_by_feed_and_time(connection):
    """The limit itself is included."""
    since = NOW - timedelta(hours=1)

    assert len(await list_gaps(connection, since=since)) == 2
    assert len(await list_gaps(connection, feed_name="sp500")) == 2
    assert len(await list_gaps(connection, feed_name="sp500", since=since)) == 1


async def test_gaps_are_counted_by_feed(connection):
    """A feed without gaps has no entry."""
    assert await count_gaps(connection) == {"sp500": 2, "upbit": 1}
