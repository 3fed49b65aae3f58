"""A consumer's heartbeats on a real Postgres."""

import pytest

from ray_pipeline.errors import DatabaseUnavailable
from ray_pipeline.storage.postgres.connection import session
from ray_pipeline.storage.postgres.consumer_records import PostgresConsumerRecords
from ray_pipeline.stream.cache import CacheUsage
from ray_pipeline.stream.consumer_ports import ConsumerBeat
from tests.support import scalar


async def test_heartbeats_continue_after_postgres_refused_one(postgres_dsn):
    """A refusal counts as an outage: it must not end the task that writes the heartbeats."""
    records = PostgresConsumerRecords(postgres_dsn, "sp500", "topic", holder="a")
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
