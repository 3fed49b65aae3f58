"""Read the status page. No query here scans history, so a page may be read every second."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

from psycopg import sql
from psycopg.rows import class_row

from ray_pipeline.feeds.feed import Feed
from ray_pipeline.feeds.feed_registry import FEEDS, feed_named
from ray_pipeline.feeds.key_plan import SINGLE, KeyPlan
from ray_pipeline.observe.status import (
    SILENT_AFTER_S,
    Assignments,
    ConsumerRow,
    DeadLetterRow,
    FeedRow,
    ShardRow,
    Status,
    uncovered,
)
from ray_pipeline.settings import Settings
from ray_pipeline.storage.postgres.any_time import age_s
from ray_pipeline.storage.postgres.connection import Connection
from ray_pipeline.storage.postgres.database_errors import READ_ONLY_FIX
from ray_pipeline.storage.postgres.symbols import read_symbols
from ray_pipeline.storage.postgres.topic_rows import PARTITIONS, read_topics
from ray_pipeline.stream.dead_letters import REPLAY_SHARDS
from ray_pipeline.stream.feed_shards import key_plan

T = TypeVar("T", FeedRow, ShardRow, ConsumerRow, DeadLetterRow)
SHARDED = tuple(feed for feed in FEEDS if feed.sharding is not None)

# Every part reads a table with one row per epoch, shard or partition; only `recent` reads `gaps`,
# which has few rows. Some points need care:
# - A restarted producer has a new epoch: only the newest epoch of a shard counts. A producer
#   without a key reports under the epoch 0, which counts only while no other producer runs.
# - Shard numbers from REPLAY_SHARDS on belong to replays and not to producers.
# - Topics may have a prefix: they are compared by their end.
# - Symbols of a feed with sharding are wanted even if no shard has room for them, or before the
#   first assignment: producers report only the symbols that they were assigned.
FEED_ROWS = sql.SQL("""
    WITH feeds AS (
        SELECT * FROM unnest(%(names)s::text[], %(topics)s::text[]) AS feeds (feed, topic)
    ), producers AS (
        SELECT DISTINCT ON (feed, shard) *,
               stopped_at IS NULL
                   AND heartbeat_at > now() - %(silent_s)s * interval '1 s' AS running
        FROM producer_epochs WHERE shard < %(replay_shards)s
        ORDER BY feed, shard, running DESC, epoch DESC
    ), shards AS (
        SELECT feed, sum(wanted)::int AS wanted, count(*)::int AS known,
               (sum(confirmed) FILTER (WHERE running))::int AS confirmed,
               (count(*) FILTER (WHERE running))::int AS running
        FROM producers GROUP BY feed
    ), totals AS (
        SELECT feed, sum(stored)::bigint AS stored, max(last_received_at) AS last_at
        FROM stream_sequences GROUP BY feed
    ), consumers AS (
        SELECT feeds.feed, sum(lag)::bigint AS lag,
               string_agg(DISTINCT redis_state, ', ') AS redis, max(redis_bytes) AS redis_bytes,
               max(redis_budget_bytes) AS redis_budget_bytes,
               min(redis_retention_s) AS redis_retention_s, max(redis_shortened) AS redis_shortened
        FROM feeds
             JOIN ({partitions}) AS partitions
                 ON right(partitions.topic, length(feeds.topic)) = feeds.topic
        GROUP BY feeds.feed
    ), recent AS (
        SELECT feed, count(*) AS gaps FROM gaps
        WHERE recorded_at > now() - interval '24 h' GROUP BY feed
    )
    SELECT feeds.feed,
           greatest(coalesce(wanted, 0), CASE feeds.feed {listed} ELSE 0 END)::int
               AS symbols_wanted,
           coalesce(confirmed, 0) AS symbols_confirmed,
           coalesce(shards.running, 0) AS shards_running,
           coalesce(known, 0) AS shards_known,
           coalesce(stored, 0) AS stored,
           coalesce(lag, 0) AS lag,
           {last_record_age_s} AS last_record_age_s,
           coalesce(recent.gaps, 0) AS gaps_24h,
           coalesce(redis, '') AS redis_state, redis_bytes, redis_budget_bytes,
           redis_retention_s, coalesce(redis_shortened, '') AS redis_shortened,
           extract(epoch FROM clock_timestamp())::float8 AS sampled_at_s
    FROM feeds LEFT JOIN shards USING (feed) LEFT JOIN totals USING (feed)
         LEFT JOIN consumers USING (feed) LEFT JOIN recent USING (feed)
""").format(
    partitions=PARTITIONS,
    last_record_age_s=age_s("last_at"),
    # The symbols of a feed with sharding may need more connections than there are.
    listed=sql.SQL(" ").join(
        sql.SQL("WHEN {} THEN (SELECT count(*) FROM ({}) AS listed)").format(
            sql.Literal(feed.name), sql.SQL(feed.symbols.query)
        )
        for feed in SHARDED
    ),
)
SHARDS = sql.SQL("""
    WITH producers AS (
        SELECT *, stopped_at IS NULL
                  AND heartbeat_at > now() - {silent_s} * interval '1 s' AS running
        FROM producer_epochs
    )
    SELECT DISTINCT ON (feed, shard)
           feed, shard, epoch, holder, state,
           concat_ws('; ', nullif(cause, ''), without_key.text) AS cause,
           connected, stopped_at IS NOT NULL AS stopped,
           wanted, confirmed, received, published, spooled, reconnects,
           {last_data_age_s} AS last_data_age_s,
           {heartbeat_age_s} AS heartbeat_age_s
    FROM producers LEFT JOIN LATERAL (
        SELECT 'another instance cannot take over: ' || other.cause AS text FROM producers AS other
        WHERE (other.feed, other.shard, other.epoch) = (producers.feed, producers.shard, 0)
          AND other.running AND producers.epoch > 0
    ) AS without_key ON true
    ORDER BY feed, shard, running DESC, epoch DESC
""").format(
    silent_s=sql.Literal(SILENT_AFTER_S),
    last_data_age_s=age_s("last_data_at"),
    heartbeat_age_s=age_s("heartbeat_at"),
)
CONSUMERS = sql.SQL("""
    SELECT topic, partition, holder, state, cause, partitions.lag,
           coalesce(next_offset, 0) AS next_offset, coalesce(redelivered, 0) AS redelivered,
           consumer_state.redis_state,
           {heartbeat_age_s} AS heartbeat_age_s
    FROM consumer_state JOIN ({partitions}) AS partitions USING (topic, partition)
         LEFT JOIN stream_offsets USING (topic, partition)
    ORDER BY topic, partition
""").format(partitions=PARTITIONS, heartbeat_age_s=age_s("heartbeat_at"))
DEAD_LETTERS = sql.SQL("""
    SELECT feed, reason, count(*) AS count,
           {newest_age_s} AS newest_age_s
    FROM dead_letters WHERE state = 'open' GROUP BY feed, reason
    ORDER BY feed, count(*) DESC, reason
""").format(newest_age_s=age_s("max(parked_at)"))
# The value at the start of a session: a reader of this page may have set its own to read-only.
READ_ONLY = """
    SELECT pg_is_in_recovery() OR reset_val = 'on'
    FROM pg_settings WHERE name = 'default_transaction_read_only'
"""
ASSIGNMENTS = """
    SELECT feed, shard, array_agg(symbol ORDER BY symbol) AS symbols
    FROM shard_assignments GROUP BY feed, shard
"""


async def read_feed_rows(connection: Connection) -> list[FeedRow]:
    """
    Return one row per feed, in the order of the catalogue.

    The rows have no rates: `observe.status.with_rates` computes them from two samples.
    """
    rows = await _rows(
        connection,
        FeedRow,
        FEED_ROWS,
        {
            "names": [spec.name for spec in FEEDS],
            "topics": [spec.topic for spec in FEEDS],
            "silent_s": SILENT_AFTER_S,
            "replay_shards": REPLAY_SHARDS,
        },
    )
    by_feed = {row.feed: row for row in rows}
    return [by_feed[spec.name] for spec in FEEDS]


async def read_status(
    connection: Connection, settings: Settings, *, stream_keys: Mapping[str, int]
) -> Status:
    """
    Return the status page, without rates.

    Args:
        connection: A connection to Postgres.
        settings: Which connections the feeds have.
        stream_keys: The number of keys of each provider that feeds use.
    """
    shards = await _rows(connection, ShardRow, SHARDS)
    return Status(
        feeds=tuple(
            replace(row, enabled=settings.feeds[row.feed].enabled)
            for row in await read_feed_rows(connection)
        ),
        shards=tuple(shards),
        consumers=tuple(await _rows(connection, ConsumerRow, CONSUMERS)),
        dead_letters=tuple(await _rows(connection, DeadLetterRow, DEAD_LETTERS)),
        uncovered=tuple(
            row
            for assignments in await _assignments(connection, settings.enabled_feeds())
            for row in uncovered(
                assignments,
                [shard for shard in shards if shard.feed == assignments.feed],
                plan=_plan(settings, assignments.feed, stream_keys),
            )
        ),
        topics=tuple(await read_topics(connection)),
        database="Postgres is read-only: " + READ_ONLY_FIX
        if await is_read_only(connection)
        else "",
    )


def _plan(settings: Settings, feed: str, stream_keys: Mapping[str, int]) -> KeyPlan | None:
    provider = feed_named(feed).key_provider
    if provider is None:
        return None
    return key_plan(settings, provider, keys=stream_keys.get(provider, 0))


async def is_read_only(connection: Connection) -> bool:
    """Return whether the database accepts no writes of a new session."""
    cursor = await connection.execute(READ_ONLY)
    return await cursor.fetchone() == (True,)


async def _rows(
    connection: Connection, kind: type[T], query: sql.Composed, values: Mapping[str, object] = {}
) -> list[T]:
    async with connection.cursor(row_factory=class_row(kind)) as cursor:
        await cursor.execute(query, values)
        return await cursor.fetchall()


async def _assignments(connection: Connection, feeds: Sequence[Feed]) -> list[Assignments]:
    by_feed: dict[str, dict[int, tuple[str, ...]]] = {feed.name: {} for feed in feeds}
    async for name, shard, symbols in await connection.execute(ASSIGNMENTS):
        if name in by_feed:  # a newer version may have more feeds
            by_feed[name][shard] = tuple(symbols)
    assignments = []
    for feed in feeds:
        listed = await read_symbols(connection, feed.symbols)
        if feed.sharding is None:
            # One connection carries all symbols, also those that the list does not hold yet.
            assignments.append(Assignments(feed.name, dict.fromkeys(SINGLE, tuple(listed))))
            continue
        shards = by_feed[feed.name]
        assigned = {symbol for symbols in shards.values() for symbol in symbols}
        unassigned = tuple(sorted(symbol for symbol in listed if symbol not in assigned))
        assignments.append(Assignments(feed.name, shards, unassigned))
    return assignments
