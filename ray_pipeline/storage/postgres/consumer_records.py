"""A consumer's own records: heartbeats, the numbers that arrived, and gaps of missing ranges."""

from collections.abc import Iterable
from itertools import groupby
from typing import LiteralString

from ray_pipeline.feeds.feed import Feed
from ray_pipeline.storage.postgres.database_session import DatabaseSession
from ray_pipeline.storage.postgres.receipt_times import ReceiptInterval, receipt_intervals
from ray_pipeline.storage.postgres.topic_rows import waiting_records
from ray_pipeline.stream.consumer_ports import ConsumerBeat
from ray_pipeline.stream.dead_letters import REPLAY_SHARDS
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
# Without an earlier record of the epoch, the time begins at the last one of the epoch before.
MISSING_GAP: LiteralString = """
    INSERT INTO gaps (feed, shard, epoch, kind, first_seq, last_seq, from_at, to_at, cause)
    SELECT %(feed)s, %(shard)s, %(epoch)s, 'sequence', %(first)s, %(last)s,
           coalesce(%(from_at)s::timestamptz,
                    (SELECT last_received_at FROM stream_sequences
                     WHERE feed = %(feed)s AND shard = %(shard)s AND epoch < %(epoch)s
                       AND last_received_at IS NOT NULL
                     ORDER BY epoch DESC LIMIT 1)),
           coalesce(%(to_at)s::timestamptz, greatest(now(), %(from_at)s::timestamptz)),
           %(cause)s
"""
# The log may have lost what each shard of the partition received after its last stored record:
#
# - If everything that a shard's producer published is stored, nothing before its `safe_at` is lost.
#   A quiet shard therefore does not begin the gap hours ago.
# - If everything is stored and the producer stopped, or disappeared a day before the others,
#   nothing is lost. Replays are not receipts: sequence gaps name what they lose.
# - A time of receipt is of the producer's clock. If that clock is ahead, the commit was earlier.
# - A partition beyond the configured ones may hold any shard.
#
# If no shard qualifies, only the time of the last commit is known.
RESET_GAP: LiteralString = """
    WITH position AS (
        SELECT max(updated_at) AS committed_at FROM stream_offsets
        WHERE topic = %(topic)s AND partition = %(partition)s
    ), newest AS (
        SELECT DISTINCT ON (shard) shard, epoch, last_received_at, seen + lost AS settled
        FROM stream_sequences
        WHERE feed = %(feed)s AND shard < %(replay_shards)s AND last_received_at IS NOT NULL
          AND (%(partition)s >= %(partitions)s OR mod(shard, %(partitions)s) = %(partition)s)
        ORDER BY shard, epoch DESC
    ), shards AS (
        SELECT least(newest.last_received_at, committed_at) AS received_at,
               least(producer.safe_at, producer.heartbeat_at) AS safe_at,
               coalesce(producer.epoch = newest.epoch AND newest.settled
                        @> int8multirange(int8range(1, producer.published + 1)), FALSE) AS complete,
               coalesce(producer.stopped_at IS NOT NULL OR producer.heartbeat_at
                        < max(producer.heartbeat_at) OVER () - interval '1 day', FALSE) AS ended
        FROM newest CROSS JOIN position LEFT JOIN LATERAL (
            SELECT epoch, published, safe_at, heartbeat_at, stopped_at FROM producer_epochs
            WHERE feed = %(feed)s AND producer_epochs.shard = newest.shard AND epoch > 0
            ORDER BY epoch DESC LIMIT 1
        ) AS producer ON TRUE
    )
    INSERT INTO gaps (feed, shard, epoch, kind, from_at, to_at, cause)
    SELECT %(feed)s, -1, 0, 'broker_reset',
           coalesce((SELECT min(CASE WHEN complete THEN greatest(received_at, safe_at)
                                     ELSE received_at END)
                     FROM shards WHERE NOT (complete AND ended)),
                    committed_at),
           now(), %(cause)s
    FROM position
"""


class PostgresConsumerRecords:
    """Implements `stream.consumer_ports.ConsumerRecords`, which has the contracts."""

    def __init__(self, dsn: str, spec: Feed, topic: str, *, partitions: int, holder: str) -> None:
        self._feed = spec.name
        self._table = spec.table
        self._topic = topic
        self._partitions = partitions
        self._holder = holder
        self._session = DatabaseSession(dsn, name=f"ray-pipeline consumer {spec.name}")

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
        intervals = await self._intervals(ranges)
        async with self._session.connection() as connection, connection.transaction():
            for item, interval in intervals.items():
                values = {
                    "feed": self._feed,
                    "shard": item.shard,
                    "epoch": item.epoch,
                    "first": item.first,
                    "last": item.last,
                    "lost": multirange([(item.first, item.last + 1)]),
                    "from_at": interval.from_at,
                    "to_at": interval.to_at,
                    "cause": cause,
                }
                cursor = await connection.execute(MARK_LOST, values)
                if cursor.rowcount:
                    await connection.execute(MISSING_GAP, values)

    async def _intervals(
        self, ranges: Iterable[MissingRange]
    ) -> dict[MissingRange, ReceiptInterval]:
        ordered = sorted(ranges, key=lambda item: (item.shard, item.epoch, item.first))
        intervals: dict[MissingRange, ReceiptInterval] = {}
        for _, group in groupby(ordered, key=lambda item: (item.shard, item.epoch)):
            of_epoch = list(group)
            # One block per epoch: each has a time limit, and heartbeats are written in between.
            async with self._session.connection() as connection:
                times = await receipt_intervals(connection, self._feed, self._table, of_epoch)
            intervals |= zip(of_epoch, times, strict=True)
        return intervals

    async def write_reset(self, partition: int, *, cause: str) -> None:
        """Write into `gaps` that the broker lost a partition's log."""
        values = {
            "feed": self._feed,
            "topic": self._topic,
            "partition": partition,
            "partitions": self._partitions,
            "replay_shards": REPLAY_SHARDS,
            "cause": cause,
        }
        async with self._session.connection() as connection:
            await connection.execute(RESET_GAP, values)


def _ranges(text: str) -> RangeSet:
    """Read Postgres' text of an int8multirange, which is always `[start,end)`."""
    runs = text.strip("{}").replace("[", "").split(")")
    pairs = (run.strip(",").split(",") for run in runs if run.strip(","))
    return RangeSet((int(start), int(end)) for start, end in pairs)
