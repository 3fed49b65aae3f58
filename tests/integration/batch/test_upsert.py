"""The one statement that stores every batch table."""

from datetime import UTC, datetime, timedelta, timezone

import psycopg

from ray_pipeline.catalog import job
from ray_pipeline.jobs.columns import column, read_row, table_row
from ray_pipeline.jobs.table import Table
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


POSTS = """
    CREATE TABLE posts (id INTEGER PRIMARY KEY, text TEXT, removed TEXT, likes INTEGER NOT NULL,
                        seen BOOLEAN NOT NULL, tags JSONB NOT NULL)
"""


async def test_a_missing_value_replaces_a_stored_one_only_in_columns_that_are_cleared(postgres_dsn):
    """NULL, and a default that was not sent, are missing values; a default that was sent is one."""

    @table_row
    class Post:
        id: int
        text: str | None
        removed: str | None
        likes: int = column(otherwise=0)
        seen: bool
        tags: list[str]

    with psycopg.connect(postgres_dsn) as connection:
        connection.execute(POSTS)
    table = Table("posts", Post, key=("id",), clears=("removed",))
    whole = {"id": 1, "text": "a", "removed": "r", "likes": 5, "seen": True, "tags": ["t"]}
    sent = {"id": 1, "likes": 0, "seen": False, "tags": []}

    async with session(postgres_dsn, name="test") as connection:
        types = await column_types(connection, table)
        stored = []
        for body in (whole, {"id": 1}, {"id": 1}, sent, {"id": 2}):
            async with connection.transaction():
                counts = await upsert(connection, table, [read_row(Post, body)], types=types)
            stored.append((counts, rows(postgres_dsn, "SELECT * FROM posts ORDER BY id DESC")[0]))

    assert stored == [
        ((1, 0), (1, "a", "r", 5, True, ["t"])),
        ((0, 1), (1, "a", None, 5, True, ["t"])),
        ((0, 0), (1, "a", None, 5, True, ["t"])),
        ((0, 1), (1, "a", None, 0, False, [])),
        ((1, 0), (2, None, None, 0, False, [])),
    ]
