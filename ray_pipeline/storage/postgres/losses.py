"""Read what was numbered, write what was lost, and say how a consumer does."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ray_pipeline.storage.postgres.connection import session
from ray_pipeline.stream.batch import ShardEpoch
from ray_pipeline.stream.missing import Hole
from ray_pipeline.stream.sequence import RangeSet, multirange


@dataclass(frozen=True, slots=True)
class Numbers:
    """What the database knows of a feed's numbers."""

    seen: Mapping[ShardEpoch, RangeSet]
    lost: Mapping[ShardEpoch, RangeSet]
    published: Mapping[ShardEpoch, int]


async def read_numbers(dsn: str, feed: str) -> Numbers:
    """
    Return which numbers arrived, which are lost and which the producers had acknowledged.

    Raises:
        DatabaseUnavailable: If Postgres is away.
    """
    async with session(dsn, name="ray-pipeline losses") as connection:
        # The producers' word first: what they had published then must be in what is read after.
        cursor = await connection.execute(
            "SELECT shard, epoch, published FROM producer_epochs WHERE feed = %s", (feed,)
        )
        published = {(shard, epoch): number for shard, epoch, number in await cursor.fetchall()}
        cursor = await connection.execute(
            "SELECT shard, epoch, seen::text, lost::text FROM stream_sequences WHERE feed = %s",
            (feed,),
        )
        rows = await cursor.fetchall()
    return Numbers(
        seen={(shard, epoch): _ranges(seen) for shard, epoch, seen, _ in rows},
        lost={(shard, epoch): _ranges(lost) for shard, epoch, _, lost in rows},
        published=published,
    )


def _ranges(text: str) -> RangeSet:
    """Read Postgres' text of an int8multirange, which is always `[start,end)`."""
    runs = text.strip("{}").replace("[", "").split(")")
    pairs = (run.strip(",").split(",") for run in runs if run.strip(","))
    return RangeSet((int(start), int(end)) for start, end in pairs)


async def write_losses(dsn: str, feed: str, holes: Iterable[Hole], *, cause: str) -> int:
    """
    Write holes into `gaps`, each once, and return how many were new.

    Raises:
        DatabaseUnavailable: If Postgres is away; nothing was written then.
    """
    written = 0
    async with session(dsn, name="ray-pipeline losses") as connection, connection.transaction():
        for hole in holes:
            lost = multirange([(hole.first, hole.last + 1)])
            cursor = await connection.execute(
                """
                INSERT INTO stream_sequences AS stored (feed, shard, epoch, lost)
                VALUES (%(feed)s, %(shard)s, %(epoch)s, %(lost)s::int8multirange)
                ON CONFLICT (feed, shard, epoch) DO UPDATE SET lost = stored.lost + excluded.lost
                WHERE NOT stored.lost @> excluded.lost AND NOT stored.seen && excluded.lost
                """,
                {"feed": feed, "shard": hole.shard, "epoch": hole.epoch, "lost": lost},
            )
            if cursor.rowcount == 0:
                continue
            written += 1
            await connection.execute(
                """
                INSERT INTO gaps (feed, shard, epoch, kind, first_seq, last_seq, from_at, to_at,
                                  cause)
                SELECT %(feed)s, %(shard)s, %(epoch)s, 'sequence', %(first)s, %(last)s,
                       (SELECT last_received_at FROM stream_sequences
                        WHERE feed = %(feed)s AND shard = %(shard)s AND epoch = %(epoch)s),
                       now(), %(cause)s
                """,
                {
                    "feed": feed,
                    "shard": hole.shard,
                    "epoch": hole.epoch,
                    "first": hole.first,
                    "last": hole.last,
                    "cause": cause,
                },
            )
    return written


async def write_reset(dsn: str, feed: str, *, partition: int, cause: str) -> None:
    """
    Write into `gaps` that the broker lost its log.

    Raises:
        DatabaseUnavailable: If Postgres is away.
    """
    async with session(dsn, name="ray-pipeline losses") as connection:
        await connection.execute(
            """
            INSERT INTO gaps (feed, shard, epoch, kind, from_at, to_at, cause)
            SELECT %s, -1, 0, 'broker_reset',
                   (SELECT max(updated_at) FROM stream_offsets WHERE partition = %s), now(), %s
            """,
            (feed, partition, cause),
        )


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """How a consumer does, for one partition."""

    partition: int
    state: str
    cause: str
    lag: int
    redis_state: str


async def write_heartbeats(
    dsn: str, topic: str, *, holder: str, beats: Iterable[Heartbeat]
) -> None:
    """
    Write how a consumer does.

    Raises:
        DatabaseUnavailable: If Postgres is away.
    """
    async with session(dsn, name="ray-pipeline heartbeat") as connection:
        for beat in beats:
            await connection.execute(
                """
                INSERT INTO consumer_state
                    (topic, partition, holder, state, cause, lag, redis_state, heartbeat_at)
                VALUES (%s, %s, %s, %s, %s, %s, %s, now())
                ON CONFLICT (topic, partition) DO UPDATE SET holder = excluded.holder,
                    state = excluded.state, cause = excluded.cause, lag = excluded.lag,
                    redis_state = excluded.redis_state, heartbeat_at = excluded.heartbeat_at
                """,
                (topic, beat.partition, holder, beat.state, beat.cause, beat.lag, beat.redis_state),
            )
