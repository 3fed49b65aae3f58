"""How fresh each table is: when something was last collected for it, and whether that is enough."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from ray_pipeline.catalog import all_jobs
from ray_pipeline.feeds.feed_registry import FEEDS
from ray_pipeline.observe.status import FeedRow, ShardRow
from ray_pipeline.observe.why import explain
from ray_pipeline.observe.why_feed import explain_feed
from ray_pipeline.storage.postgres.connection import Connection
from ray_pipeline.storage.postgres.runs import last_runs
from ray_pipeline.timestamps import nearest_of_unix

COLLECTED = """
    SELECT job, max(finished_at) FROM job_runs
    WHERE state IN ('succeeded', 'nothing_new') GROUP BY job
"""


@dataclass(frozen=True, slots=True)
class Freshness:
    """
    One table.

    Attributes:
        table: Its name.
        source: The feed or the job that writes it.
        kind: feed or job.
        fresh: Whether it is as new as it should be.
        collected_at: When something was last collected for it; None: never.
        age_s: Seconds since then.
        why: One sentence.
    """

    table: str
    source: str
    kind: str
    fresh: bool
    collected_at: datetime | None
    age_s: float | None
    why: str


def of_feeds(feeds: Mapping[str, FeedRow], shards: tuple[ShardRow, ...]) -> list[Freshness]:
    """Return the feeds' tables."""
    found: list[Freshness] = []
    for spec in FEEDS:
        row = feeds[spec.name]
        why = explain_feed(row, shards)
        age_s = row.last_record_age_s
        at = None if age_s is None else nearest_of_unix(row.sampled_at_s - age_s)
        found.append(Freshness(spec.table, spec.name, "feed", why.fresh, at, age_s, why.sentence))
    return found


async def of_jobs(
    connection: Connection, *, keys: Mapping[str, int], scheduled: bool
) -> list[Freshness]:
    """Return the jobs' tables; `keys` is how many keys each provider has."""
    now = datetime.now(UTC)
    last = await last_runs(connection)
    cursor = await connection.execute(COLLECTED)
    collected: dict[str, datetime] = {row[0]: row[1] async for row in cursor}
    found: list[Freshness] = []
    for spec in all_jobs():
        why = explain(spec, last.get(spec.name), now=now, keys=keys, scheduled=scheduled)
        at = collected.get(spec.name)
        age_s = None if at is None else (now - at).total_seconds()
        for table in spec.tables:
            # A sweep collects a part a run: its tables say themselves how old they may be.
            fresh = (
                why.fresh
                if table.fresh is None or age_s is None
                else age_s <= table.fresh.total_seconds()
            )
            found.append(Freshness(table.name, spec.name, "job", fresh, at, age_s, why.sentence))
    return found
