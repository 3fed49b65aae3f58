"""A consumer's own records: heartbeats, the numbers that arrived, and gaps of missing ranges."""

from collections.abc import Iterable
from typing import LiteralString

from ray_pipeline.storage.postgres.database_session import DatabaseSession
from ray_pipeline.storage.postgres.topic_rows import waiting_records
from ray_pipeline.stream.consumer_ports import ConsumerBeat
from ray_pipeline.stream.missing import MissingRange, SequenceNumbers
from ray_pipeline.stream.sequence import RangeSet, multirange

BEAT: LiteralString = """
    INSERT INTO consumer_state
        (topic, partition, holder, state, cause, lag, redis_state, redis_bytes,
         redis_budget_bytes, redis_retention_s, redis_shortened, heartbeat_at)
    VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, now())
    ON CONFLICT (topic, partition) DO UPDATE SET holder = excluded.holder,
        state = excluded.state, cause = excluded.cause, lag = excluded.lag,
        redis_state = excluded.redis_state, redis_bytes = excluded.redis_bytes,
        redis_budget_bytes = excluded.redis_budget_bytes,
        redis_retention_s = excluded.redis_retention_s,
        redis_shortened = excluded.redis_shortened, heartbeat_at = excluded.heartbeat_at
"""
# A number that arrived after all, or that is already lost, is not marked again.
MARK_LOST: LiteralString = """
    INSERT INTO stream_sequences AS stored (feed, shard, epoch, lost)
    VALUES (%(feed)s, %(shard)s, %(epoch)s, %(lost)s::int8multirange)
    ON CONFLICT (feed, shard, epoch) DO UPDATE SET lost = stored.lost + excluded.lost
    WHERE NOT stored.lost @> excluded.lost AND NOT stored.seen && excluded.lost
"""
MISSING_GAP: LiteralString = """
    INSERT INTO gaps (feed, shard, epoch, kind, first_seq, last_seq, from_at, to_at, cause)
    SELECT %(feed)s, %(shard)s, %(epoch)s, 'sequence', %(first)s, %(last)s,
           (SELECT last_received_at FROM stream_sequences
            WHERE feed = %(feed)s AND shard = %(shard)s AND epoch = %(epoch)s),
           now(), %(cause)s
"""
RESET_GAP: LiteralString = """
    INSERT INTO gaps (feed, shard, epoch, kind, from_at, to_at, cause)
    SELECT %s, -1, 0, 'broker_reset',
           (SELECT max(updated_at) FROM stream_offsets WHERE partition = %s), now(), %s
"""


class PostgresConsumerRecords:
    """Implements `stream.consumer_ports.ConsumerRecords`, which has the contracts."""

    def __init__(self, dsn: str, feed: str, topic: str, *, holder: str) -> None:
        self._feed = feed
        self._topic = topic
        self._holder = holder
        self._session = DatabaseSession(dsn, name=f"ray-pipeline consumer {feed}")

    async def close(self) -> None:
        """Close the connection."""
        await self._session.close()

    async def write_beats(self, beats: Iterable[ConsumerBeat]) -> None:
        """Write a consumer's state, one row per partition."""
        async with self._session.connection() as connection:
            for beat in beats:
                usage = beat.redis_usage
                row = (
                    beat.state, beat.cause, beat.lag, beat.redis_state,
                    usage and usage.feed_bytes, usage and usage.budget_bytes,
                    usage and usage.retention_s, usage.shortened if usage else "",
                )  # fmt: skip
                await connection.execute(BEAT, (self._topic, beat.partition, self._holder, *row))

    async def waiting(self) -> int:
        """Return how many records wait in the topic's partitions, those of others included."""
        async with self._session.connection() as connection:
            return await waiting_records(connection, self._topic)

    async def read_numbers(self) -> SequenceNumbers:
        """Return which numbers arrived, are lost, and were published."""
        async with self._session.connection() as connection:
            # The published numbers first: whatever they name must be in what is read after.
            cursor = await connection.execute(
                "SELECT shard, epoch, published FROM producer_epochs WHERE feed = %s",
                (self._feed,),
            )
            published = {(shard, epoch): number for shard, epoch, number in await cursor.fetchall()}
            cursor = await connection.execute(
                "SELECT shard, epoch, seen::text, lost::text FROM stream_sequences WHERE feed = %s",
                (self._feed,),
            )
            rows = await cursor.fetchall()
        return SequenceNumbers(
            seen={(shard, epoch): _ranges(seen) for shard, epoch, seen, _ in rows},
            lost={(shard, epoch): _ranges(lost) for shard, epoch, _, lost in rows},
            published=published,
        )

    async def write_missing(self, ranges: Iterable[MissingRange], *, cause: str) -> None:
        """Write missing ranges into `gaps`, each once: all of them or none."""
        async with self._session.connection() as connection, connection.transaction():
            for item in ranges:
                values = {
                    "feed": self._feed,
                    "shard": item.shard,
                    "epoch": item.epoch,
                    "first": item.first,
                    "last": item.last,
                    "lost": multirange([(item.first, item.last + 1)]),
                    "cause": cause,
                }
                cursor = await connection.execute(MARK_LOST, values)
                if cursor.rowcount:
                    await connection.execute(MISSING_GAP, values)

    async def write_reset(self, partition: int, *, cause: str) -> None:
        """Write into `gaps` that the broker lost a partition's log."""
        async with self._session.connection() as connection:
            await connection.execute(RESET_GAP, (self._feed, partition, cause))


def _ranges(text: str) -> RangeSet:
    """Read Postgres' text of an int8multirange, which is always `[start,end)`."""
    runs = text.strip("{}").replace("[", "").split(")")
    pairs = (run.strip(",").split(",") for run in runs if run.strip(","))
    return RangeSet((int(start), int(end)) for start, end in pairs)
