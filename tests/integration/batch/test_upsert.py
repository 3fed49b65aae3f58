"""The one statement that stores every batch table."""

from datetime import UTC, datetime, timedelta, timezone

from ray_pipeline.catalog import job
from ray_pipeline.storage.postgres.connection import session
from ray_pipeline.storage.postgres.upsert import column_types, upsert
from tests.streams import rows

NOON = datetime(2024, 6, 1, 12, tzinfo=UTC)
IN_SEOUL = NOON.astimezone(timezone(timedelta(hours=9)))


async def test_times_are_stored_in_utc_whatever_their_offset(postgres_dsn):
    """The column has no zone: one moment, written in three ways, is one value there."""
    (table,) = job("market_news").tables
    empty = dict.fromkeys(table.columns) | {"source": "test", "title": "a title"}
    written = [NOON, IN_SEOUL, NOON.replace(tzinfo=None)]
    news = [
        table.row(**empty | {"url": f"https://example.org/{place}", "published_at": moment})
        for place, moment in enumerate(written)
    ]

    async with session(postgres_dsn, name="test") as connection:
        types = await column_types(connection, table)
        for some in (news[:1], news[1:]):
            async with connection.transaction():
                assert await upsert(connection, table, some, types=types) == (len(some), 0)

    assert types["published_at"] == "timestamp without time zone"
    stored = rows(postgres_dsn, "SELECT published_at FROM market_news")
    assert stored == [(NOON.replace(tzinfo=None),)] * 3
