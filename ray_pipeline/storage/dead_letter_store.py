"""Dead letters: list them, replay them, or drop them with a reason."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from aiokafka import AIOKafkaProducer
from psycopg.rows import class_row

from ray_pipeline.errors import BrokerUnavailable, PipelineError
from ray_pipeline.feeds.feed import partition_of
from ray_pipeline.feeds.feed_registry import FEEDS, feed_named
from ray_pipeline.feeds.records import RecordIdentity
from ray_pipeline.settings import Settings
from ray_pipeline.storage.kafka.client_start import FAILURES
from ray_pipeline.storage.kafka.positions import partition_counts
from ray_pipeline.storage.kafka.replaying_producer import replay_partitions, replaying_producer
from ray_pipeline.storage.kafka.topics import topic_name
from ray_pipeline.storage.postgres.connection import Connection, session
from ray_pipeline.storage.postgres.stream_identity import check_topic_prefix
from ray_pipeline.stream.dead_letters import (
    DeadLetter,
    readdress,
    replay_shard,
    reservation,
    reserved,
)

CHUNK = 500
LOCK_KEY = 0x7261795F646C7100  # "ray_dlq": one replay at a time, or epochs could cross

LIST = """
    SELECT id, feed, topic, partition, "offset", shard, epoch, seq, reason, detail, parked_at,
           state, resolved_at, resolution, length(payload) AS size_bytes
    FROM dead_letters
    WHERE (%(feed)s::text IS NULL OR feed = %(feed)s)
      AND (%(reason)s::text IS NULL OR reason = %(reason)s)
      AND (%(state)s::text IS NULL OR state = %(state)s)
      AND (%(ids)s::bigint[] IS NULL OR id = ANY(%(ids)s))
    ORDER BY id LIMIT %(limit)s
"""
DEAD_LETTERS = """
    SELECT id, feed, shard, key, payload, reason, detail, resolution
    FROM dead_letters
    WHERE state = 'open' AND (id = ANY(%s) OR resolution LIKE 'replaying as %%')
    ORDER BY id FOR UPDATE
"""
NEXT_EPOCH = """
    INSERT INTO leases AS held (resource, epoch) VALUES (%s, 1)
    ON CONFLICT (resource) DO UPDATE SET epoch = held.epoch + 1 RETURNING epoch
"""
ANNOUNCE = """
    INSERT INTO producer_epochs (feed, shard, epoch, holder, state, stopped_at)
    VALUES (%s, %s, %s, 'dlq replay', 'replayed', now())
"""
RESERVE = "UPDATE dead_letters SET resolution = %s WHERE id = %s"
RESOLVE = """
    UPDATE dead_letters SET state = 'replayed', resolved_at = now(),
        resolution = replace(resolution, 'replaying', 'replayed')
    WHERE id = ANY(%s)
"""
# Never past a number that is not acknowledged: `published` promises all before it.
PUBLISHED = """
    UPDATE producer_epochs SET published = greatest(published, %s), heartbeat_at = now()
    WHERE feed = %s AND shard = %s AND epoch = %s
"""
DROP = """
    UPDATE dead_letters SET state = 'dropped', resolved_at = now(), resolution = %s
    WHERE id = ANY(%s) AND state = 'open' AND resolution = '' RETURNING id
"""


@dataclass(frozen=True, slots=True)
class ListedDeadLetter:
    """A dead letter without its payload."""

    id: int
    feed: str
    topic: str
    partition: int
    offset: int
    shard: int | None
    epoch: int | None
    seq: int | None
    reason: str
    detail: str
    parked_at: datetime
    state: str
    resolved_at: datetime | None
    resolution: str
    size_bytes: int


async def list_dead_letters(
    connection: Connection,
    *,
    feed_name: str | None = None,
    reason: str | None = None,
    state: str | None = "open",
    ids: Sequence[int] | None = None,
    limit: int | None = None,
) -> list[ListedDeadLetter]:
    """Return the dead letters that fit, oldest first."""
    cursor = connection.cursor(row_factory=class_row(ListedDeadLetter))
    values = {"feed": feed_name, "reason": reason, "state": state, "limit": limit}
    await cursor.execute(LIST, values | {"ids": None if ids is None else list(ids)})
    return await cursor.fetchall()


async def payload_of(connection: Connection, dead_letter_id: int) -> tuple[bytes | None, bytes]:
    """
    Return the key and the payload of a dead letter.

    Raises:
        PipelineError: If the dead letter does not exist.
    """
    cursor = await connection.execute(
        "SELECT key, payload FROM dead_letters WHERE id = %s", (dead_letter_id,)
    )
    row = await cursor.fetchone()
    if row is None:
        raise unknown([dead_letter_id])
    return row[0], row[1]


def unknown(ids: Iterable[int]) -> PipelineError:
    """Return the error for ids without an open dead letter."""
    listed = ", ".join(map(str, ids))
    return PipelineError(
        f"no open dead letter {listed}", fix="`ray-pipeline dlq list` shows the open ones"
    )


async def drop_dead_letters(connection: Connection, ids: Sequence[int], *, why: str) -> int:
    """
    Drop dead letters with a reason; return how many. They stay in the table.

    Raises:
        PipelineError: If one is not open, or its replay has begun. Nothing is dropped then.
    """
    async with connection.transaction():
        cursor = await connection.execute(DROP, (why, list(ids)))
        dropped = {row[0] async for row in cursor}
        if left := sorted(set(ids) - dropped):
            raise PipelineError(
                f"dead letters {', '.join(map(str, left))} are not open, or are being replayed",
                fix="`ray-pipeline dlq list --state all` shows their states; a replay that was "
                "cut off is finished by replaying again",
            )
    return len(dropped)


async def replay_dead_letters(
    settings: Settings, ids: Sequence[int], *, payload: bytes | None = None
) -> int:
    """
    Send dead letters through Kafka once more, as new records, and return how many.

    The new identities are stored, the records sent, then marked as replayed. After an interruption
    the dead letters stay open; the next replay of any dead letter sends these, too, under the same
    identities, so each is stored once.

    Args:
        settings: Where Postgres and Kafka are.
        ids: Which dead letters.
        payload: Sent in place of the parked one.

    Raises:
        PipelineError: If one of them is not open, or its feed does not exist; nothing is sent then.
        BrokerUnavailable: If Kafka did not acknowledge; replay again.
        DatabaseUnavailable: If Postgres went away; replay again.
    """
    async with session(settings.postgres_dsn(), name="dlq replay") as connection:
        await check_topic_prefix(connection, settings.kafka.topic_prefix)
        await connection.execute("SELECT pg_advisory_lock(%s)", (LOCK_KEY,))
        addressed = await _reserve(connection, ids)
        if payload is not None:
            addressed = [
                (
                    replace(parked, payload=payload) if parked.id in ids else parked,
                    identity,
                )
                for parked, identity in addressed
            ]
        await _send_all(connection, settings, addressed)
    return len(addressed)


Addressed = Sequence[tuple[DeadLetter, RecordIdentity]]


async def _reserve(
    connection: Connection, ids: Sequence[int]
) -> list[tuple[DeadLetter, RecordIdentity]]:
    """Give each dead letter its identity, those of an earlier replay first; all or none."""
    async with connection.transaction():
        cursor = connection.cursor(row_factory=class_row(DeadLetter))
        await cursor.execute(DEAD_LETTERS, (list(ids),))
        dead_letters = await cursor.fetchall()
        if left := sorted(set(ids) - {parked.id for parked in dead_letters}):
            raise unknown(left)
        feeds = {spec.name for spec in FEEDS}
        if removed := {parked.feed for parked in dead_letters if parked.id in ids} - feeds:
            raise PipelineError(
                f"no feed {', '.join(sorted(removed))} exists: its dead letters cannot be replayed",
                fix="drop them with `ray-pipeline dlq drop`, or replay them with the release that "
                "has the feed",
            )
        # A feed may also have been removed during a replay: its dead letters stay open.
        dead_letters = [parked for parked in dead_letters if parked.feed in feeds]
        begun = [
            (parked, identity)
            for parked in dead_letters
            if (identity := reserved(parked.resolution))
        ]
        fresh = [parked for parked in dead_letters if reserved(parked.resolution) is None]
        begun += [pair for group in _by_shard(fresh) for pair in await _number(connection, group)]
    # An older epoch that arrives after a newer one would be parked as stale.
    return sorted(begun, key=lambda pair: (pair[1].epoch, pair[1].seq))


def _by_shard(dead_letters: Iterable[DeadLetter]) -> list[list[DeadLetter]]:
    groups: dict[tuple[str, int], list[DeadLetter]] = {}
    for parked in dead_letters:
        groups.setdefault((parked.feed, replay_shard(parked.shard)), []).append(parked)
    return list(groups.values())


async def _number(
    connection: Connection, dead_letters: Sequence[DeadLetter]
) -> list[tuple[DeadLetter, RecordIdentity]]:
    """Give dead letters of one feed and shard a new epoch, and numbers from 1 in it."""
    name, shard = dead_letters[0].feed, replay_shard(dead_letters[0].shard)
    cursor = await connection.execute(NEXT_EPOCH, (f"producer/{name}/{shard}",))
    (epoch,) = await cursor.fetchone() or (0,)
    await connection.execute(ANNOUNCE, (name, shard, epoch))
    addressed = [
        (parked, RecordIdentity(shard, epoch, seq))
        for seq, parked in enumerate(dead_letters, start=1)
    ]
    for parked, identity in addressed:
        await connection.execute(RESERVE, (reservation(identity), parked.id))
    return addressed


async def _send_all(connection: Connection, settings: Settings, addressed: Addressed) -> None:
    try:
        counts = await partition_counts(settings)
        async with replaying_producer(settings) as producer:
            for start in range(0, len(addressed), CHUNK):
                chunk = addressed[start : start + CHUNK]
                await _send(producer, settings, counts, chunk)
                await _mark(connection, chunk)
    except FAILURES as error:
        raise BrokerUnavailable(
            f"Kafka did not accept the dead letters: {error}",
            fix="check PIPELINE_KAFKA__BOOTSTRAP_SERVERS and replay again; nothing is lost",
        ) from error


async def _send(
    producer: AIOKafkaProducer, settings: Settings, counts: dict[str, int], chunk: Addressed
) -> None:
    acknowledgements = []
    for parked, identity in chunk:
        spec = feed_named(parked.feed)
        topic = topic_name(settings, spec)
        acknowledgements.append(
            await producer.send(
                topic,
                value=readdress(parked, identity, spec.layout.kind),
                key=parked.key,
                partition=partition_of(identity.shard, replay_partitions(settings, spec, counts)),
            )
        )
    for acknowledgement in acknowledgements:
        await acknowledgement


async def _mark(connection: Connection, chunk: Addressed) -> None:
    async with connection.transaction():
        await connection.execute(RESOLVE, ([parked.id for parked, _ in chunk],))
        for parked, identity in chunk:
            values = (identity.seq, parked.feed, identity.shard, identity.epoch)
            await connection.execute(PUBLISHED, values)
