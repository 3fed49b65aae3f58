"""Count the facts for the audit in Kafka, Postgres and Redis, while the pipeline runs."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from psycopg import sql
from psycopg.rows import dict_row

from ray_pipeline.errors import PipelineError
from ray_pipeline.feeds.feed import Feed
from ray_pipeline.observe.audit import Audit, EpochFacts, Facts, FeedFacts, Outage, audit
from ray_pipeline.settings import Settings
from ray_pipeline.storage.kafka.positions import Positions, read_positions
from ray_pipeline.storage.newest import Newest, behind, newest_by_symbol
from ray_pipeline.storage.postgres.connection import Connection, session
from ray_pipeline.storage.postgres.gap_rows import count_gaps
from ray_pipeline.storage.postgres.stream_identity import check_topic_prefix

POLL_S = 0.2
WAIT_S = 10.0

# Under the epoch 0 a producer without a key reports; it issues no numbers.
# Must be read before Kafka's end offsets: then every number that it reports lies below them.
REPORTED = "SELECT feed, shard, epoch, published FROM producer_epochs WHERE epoch > 0"

COUNT = sql.SQL("(SELECT coalesce(sum(upper(r) - lower(r)), 0)::bigint FROM unnest({}) AS r)")
# Multiranges make the set arithmetic exact and cheap: an epoch of millions of numbers is a handful
# of ranges. `lost - seen` is what is still lost, because a record may arrive after it was given up.
EPOCHS = sql.SQL("""
    WITH reported AS (
        SELECT * FROM unnest(%s::text[], %s::int[], %s::bigint[], %s::bigint[])
            AS reported (feed, shard, epoch, published)
    ), epochs AS (
        SELECT feed, shard, epoch, stored, parked, notices,
               coalesce(seen, '{{}}') AS seen, coalesce(lost, '{{}}') AS lost,
               greatest(coalesce(published, 0), coalesce(upper(seen) - 1, 0)) AS highest
        FROM reported FULL JOIN stream_sequences USING (feed, shard, epoch)
    ), recorded AS (
        SELECT feed, shard, epoch,
               range_agg(int8range(first_seq, last_seq, '[]')) AS ranges
        FROM gaps WHERE first_seq IS NOT NULL AND last_seq >= first_seq GROUP BY feed, shard, epoch
    ), judged AS (
        SELECT epochs.*, lost - seen AS still_lost,
               int8multirange(int8range(1, highest + 1)) - seen - lost AS missing,
               lost - seen - coalesce(ranges, '{{}}') AS unrecorded
        FROM epochs LEFT JOIN recorded USING (feed, shard, epoch)
    )
    SELECT feed, shard, epoch, highest, coalesce(stored, 0) AS stored,
           coalesce(parked, 0) AS parked, coalesce(notices, 0) AS notices,
           {seen} AS seen, {missing} AS missing, {still_lost} AS lost,
           {unrecorded} AS unrecorded,
           ARRAY(SELECT ARRAY[lower(r), upper(r) - 1]
                 FROM unnest(missing) AS r LIMIT 3) AS missing_ranges
    FROM judged ORDER BY feed, shard, epoch
""").format(
    **{
        ranges: COUNT.format(sql.Identifier(ranges))
        for ranges in ("seen", "missing", "still_lost", "unrecorded")
    }
)

# Grouping by number first counts rows and distinct numbers in one pass by hash, in parallel, from
# the primary key's index alone. count(DISTINCT seq) would sort, in a single process.
ROWS = """
    SELECT pod_index, epoch, sum(copies)::bigint, count(*)
    FROM (SELECT pod_index, epoch, seq, count(*) AS copies FROM {table} GROUP BY 1, 2, 3) AS numbers
    GROUP BY pod_index, epoch
"""
DEAD_LETTERS = "SELECT feed, count(*) FROM dead_letters WHERE state = 'open' GROUP BY feed"
NEXT_OFFSETS = "SELECT topic, partition, next_offset FROM stream_offsets"

Key = tuple[str, int, int]  # feed, shard, epoch


@dataclass(frozen=True, slots=True)
class Baseline:
    """What had been published when the audit began: numbers by epoch, and the topics' ends."""

    reported: Mapping[Key, int]
    positions: Positions


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The content of Postgres at one moment."""

    feeds: tuple[FeedFacts, ...]
    newest: Mapping[str, Sequence[Newest]]


async def run_audit(settings: Settings, *, wait_s: float = WAIT_S) -> Audit:
    """
    Return the audit of everything published before this call.

    Wait at most `wait_s` for records that are on their way. The streams may run: records that are
    published meanwhile are not judged as missing. A store that cannot be reached is reported in
    the audit, not raised.

    Raises:
        ConfigurationError: If a store is not configured.
    """
    dsn, _, _ = settings.postgres_dsn(), settings.redis_url(), settings.bootstrap_servers()
    deadline_s = time.monotonic() + wait_s
    try:
        async with session(dsn, name="audit") as connection:
            await check_topic_prefix(connection, settings.kafka.topic_prefix)
            return await _audit(connection, settings, deadline_s=deadline_s)
    except PipelineError as error:
        return audit(Facts((), (outage("Postgres", error),)))


def outage(store: str, error: PipelineError) -> Outage:
    """Return an error as an outage of a store."""
    return Outage(store, str(error.args[0]), error.fix)


async def _audit(connection: Connection, settings: Settings, *, deadline_s: float) -> Audit:
    reported = await _reported(connection)
    try:
        # The order matters: see REPORTED.
        baseline = Baseline(reported, await read_positions(settings, settings.enabled_feeds()))
        outages: tuple[Outage, ...] = ()
    except PipelineError as error:
        baseline, outages = Baseline(reported, {}), (outage("Kafka", error),)
    # A record may be committed between the wait and the count, so that counts of two stores do not
    # match. Such a difference vanishes by itself; one that stays until the deadline is a problem.
    while True:
        await _catch_up(connection, baseline, deadline_s=deadline_s)
        facts = await _gather(connection, settings, baseline, deadline_s=deadline_s)
        verdict = audit(replace(facts, outages=outages + facts.outages))
        if verdict.clean or verdict.problems or time.monotonic() >= deadline_s:
            return verdict
        await asyncio.sleep(POLL_S)


async def _reported(connection: Connection) -> dict[Key, int]:
    cursor = await connection.execute(REPORTED)
    return {(feed, shard, epoch): published async for feed, shard, epoch, published in cursor}


async def _catch_up(connection: Connection, baseline: Baseline, *, deadline_s: float) -> None:
    """Wait until consumers have passed the baseline and no number is missing, or the deadline."""
    while time.monotonic() < deadline_s:
        waiting = await waiting_by_topic(connection, baseline.positions)
        epochs = await _epochs(connection, baseline.reported)
        if not any(waiting.values()) and not any(epoch.missing for _, epoch in epochs):
            return
        await asyncio.sleep(POLL_S)


async def waiting_by_topic(connection: Connection, positions: Positions) -> dict[str, int]:
    """Return how many records below the end offsets in `positions` are not stored yet."""
    cursor = await connection.execute(NEXT_OFFSETS)
    stored = {(topic, partition): offset async for topic, partition, offset in cursor}
    waiting: dict[str, int] = {}
    for (topic, partition), position in positions.items():
        # Retention deletes old records: an offset may lie before the first that the broker has.
        begin = max(stored.get((topic, partition), 0), position.first)
        waiting[topic] = waiting.get(topic, 0) + max(position.end - begin, 0)
    return waiting


async def _gather(
    connection: Connection, settings: Settings, baseline: Baseline, *, deadline_s: float
) -> Facts:
    snapshot = await _snapshot(connection, settings, baseline)
    try:
        lagging = await behind(settings, snapshot.newest, deadline_s=deadline_s)
    except PipelineError as error:
        return Facts(snapshot.feeds, (outage("Redis", error),))
    return Facts(tuple(replace(feed, behind=lagging.get(feed.feed, ())) for feed in snapshot.feeds))


async def _snapshot(connection: Connection, settings: Settings, baseline: Baseline) -> Snapshot:
    async with connection.transaction():
        # Rows and counters must be of one moment: a commit in between would look like a loss.
        await connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        # Millions of numbers exceed the default of 4 MB; a hash on disk takes three times as long.
        await connection.execute("SET LOCAL work_mem = '64MB'")
        epochs = await _epochs(connection, baseline.reported)
        waiting = await waiting_by_topic(connection, baseline.positions)
        gaps = await count_gaps(connection)
        cursor = await connection.execute(DEAD_LETTERS)
        dead_letters = {feed: count async for feed, count in cursor}
        feeds = [
            FeedFacts(
                feed=spec.name,
                epochs=await _with_rows(connection, spec, epochs),
                waiting=waiting.get(settings.kafka.topic_prefix + spec.topic, 0),
                gaps=gaps.get(spec.name, 0),
                dead_letters=dead_letters.get(spec.name, 0),
            )
            for spec in settings.enabled_feeds()
        ]
        newest: dict[str, Sequence[Newest]] = {
            spec.name: await newest_by_symbol(connection, spec) for spec in settings.enabled_feeds()
        }
    return Snapshot(tuple(feeds), newest)


async def _epochs(
    connection: Connection, reported: Mapping[Key, int]
) -> list[tuple[str, EpochFacts]]:
    rows = [(*key, published) for key, published in reported.items()]
    columns = [[row[column] for row in rows] for column in range(4)]
    cursor = connection.cursor(row_factory=dict_row)
    await cursor.execute(EPOCHS, columns)
    return [(row.pop("feed"), _epoch_facts(**row)) async for row in cursor]


def _epoch_facts(*, missing_ranges: list[list[int]], **counts: int) -> EpochFacts:
    ranges = tuple((first, last) for first, last in missing_ranges)
    return EpochFacts(**counts, missing_ranges=ranges)


async def _with_rows(
    connection: Connection, spec: Feed, epochs: Sequence[tuple[str, EpochFacts]]
) -> tuple[EpochFacts, ...]:
    facts = {(epoch.shard, epoch.epoch): epoch for feed, epoch in epochs if feed == spec.name}
    cursor = await connection.execute(sql.SQL(ROWS).format(table=sql.Identifier(spec.table)))
    async for shard, epoch, rows, identities in cursor:
        # Rows of an epoch that no producer reported come from another program: they stay visible.
        reported = facts.get((shard, epoch), EpochFacts(shard, epoch))
        facts[shard, epoch] = replace(reported, rows=rows, identities=identities)
    return tuple(facts[key] for key in sorted(facts))
