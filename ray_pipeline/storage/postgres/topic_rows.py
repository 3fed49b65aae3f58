"""The topics as the broker has them, and the records that wait in each partition."""

from collections.abc import Sequence
from dataclasses import dataclass

from psycopg import sql
from psycopg.rows import class_row

from ray_pipeline.observe.status import SILENT_AFTER_S
from ray_pipeline.observe.topic_partitions import TopicRow
from ray_pipeline.storage.postgres.any_time import age_s
from ray_pipeline.storage.postgres.connection import Connection

# A supervisor of an older generation may have older settings: its row does not replace a newer one
# while the newer supervisor reports.
WRITE = """
    INSERT INTO topic_state AS stored
        (topic, feed, configured, first_offsets, end_offsets, generation)
    VALUES (%(topic)s, %(feed)s, %(configured)s, %(first)s, %(end)s, %(generation)s)
    ON CONFLICT (topic) DO UPDATE SET feed = excluded.feed, configured = excluded.configured,
        first_offsets = excluded.first_offsets, end_offsets = excluded.end_offsets,
        generation = excluded.generation, checked_at = now()
    WHERE stored.generation <= excluded.generation
       OR stored.checked_at < now() - interval '1 min'
"""
FORGET = "DELETE FROM topic_state WHERE NOT topic = ANY(%s)"

# Every partition that the broker or a consumer names. `waiting` comes from the broker: the records
# between the offset that is stored and the end of the log at the last check. It includes the
# partitions that no consumer reads. A consumer's own lag is newer, but it is valid only while the
# consumer stores: a consumer that waits for a lease or that died leaves the lag of its last poll.
PARTITIONS = sql.SQL("""
    SELECT topic, partition, redis_state, redis_bytes, redis_budget_bytes, redis_retention_s,
           redis_shortened,
           logs.waiting IS NOT NULL AND NOT coalesce(fresh, FALSE) AS unread,
           CASE WHEN fresh AND state = 'storing' THEN greatest(reports.lag, logs.waiting)
                WHEN logs.waiting IS NOT NULL THEN logs.waiting
                WHEN EXISTS (SELECT FROM topic_state WHERE topic_state.topic = reports.topic) THEN 0
                ELSE reports.lag END AS lag
    FROM (
        SELECT *, heartbeat_at > now() - {silent_s} * interval '1 s' AS fresh FROM consumer_state
    ) AS reports FULL JOIN (
        SELECT topic_state.topic, (number - 1)::int AS partition,
               greatest(end_offset - greatest(next_offset, first_offset), 0) AS waiting
        FROM topic_state
             CROSS JOIN unnest(first_offsets, end_offsets) WITH ORDINALITY
                 AS log (first_offset, end_offset, number)
             LEFT JOIN stream_offsets ON stream_offsets.topic = topic_state.topic
                 AND stream_offsets.partition = number - 1
    ) AS logs USING (topic, partition)
""").format(silent_s=sql.Literal(SILENT_AFTER_S))
TOPICS = sql.SQL("""
    SELECT topic, feed, configured, cardinality(end_offsets) AS present,
           array_remove(array_agg(partition ORDER BY partition) FILTER (WHERE unread), NULL)
               AS unread_partitions,
           coalesce(sum(lag) FILTER (WHERE unread), 0)::bigint AS unread_records,
           {checked_age_s} AS checked_age_s
    FROM topic_state LEFT JOIN ({partitions}) AS partitions USING (topic)
    GROUP BY topic ORDER BY topic
""").format(partitions=PARTITIONS, checked_age_s=age_s("checked_at"))
WAITING = sql.SQL(
    "SELECT coalesce(sum(lag), 0)::bigint FROM ({partitions}) AS partitions WHERE topic = %s"
).format(partitions=PARTITIONS)


@dataclass(frozen=True, slots=True)
class TopicState:
    """The partitions of a topic in the broker, from 0 on: their first and their end offsets."""

    topic: str
    feed: str
    configured: int
    first_offsets: Sequence[int]
    end_offsets: Sequence[int]


async def write_topics(
    connection: Connection, topics: Sequence[TopicState], *, generation: int
) -> None:
    """Replace what is known about the topics; forget all other topics."""
    async with connection.transaction():
        await connection.execute(FORGET, ([topic.topic for topic in topics],))
        for topic in topics:
            values = {
                "topic": topic.topic,
                "feed": topic.feed,
                "configured": topic.configured,
                "first": list(topic.first_offsets),
                "end": list(topic.end_offsets),
                "generation": generation,
            }
            await connection.execute(WRITE, values)


async def read_topics(connection: Connection) -> list[TopicRow]:
    """Return the topics that a supervisor has checked."""
    async with connection.cursor(row_factory=class_row(TopicRow)) as cursor:
        await cursor.execute(TOPICS)
        return await cursor.fetchall()


async def waiting_records(connection: Connection, topic: str) -> int:
    """Return how many records of a topic wait in Kafka, in partitions without a consumer too."""
    cursor = await connection.execute(WAITING, (topic,))
    (waiting,) = await cursor.fetchone() or (0,)
    return int(waiting)
