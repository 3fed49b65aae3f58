"""One row a table: when data was last collected for it, and whether it is fresh."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from ray_pipeline.catalog import all_jobs
from ray_pipeline.feeds.feed_registry import FEEDS
from ray_pipeline.observe.freshness import table_is_fresh
from ray_pipeline.observe.status import Status
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
        fresh: Whether it is as new as it should be; `observe.freshness` decides.
        collected_at: When data was last collected for it; None: never.
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


def by_source(rows: Iterable[Freshness]) -> list[Freshness]:
    """Return one row per feed and job. The last one of a job's tables stands for the job."""
    return list({(row.kind, row.source): row for row in rows}.values())


def why_row(row: Freshness) -> dict[str, object]:
    """Return the JSON form of the explanation of a feed or a job."""
    return {"name": row.source, "kind": row.kind, "fresh": row.fresh, "why": row.why}


def of_feeds(status: Status) -> list[Freshness]:
    """Return the feeds' tables, in the order of the catalogue."""
    by_feed = {row.feed: row for row in status.feeds}
    rows: list[Freshness] = []
    for spec in FEEDS:
        feed = by_feed[spec.name]
        why = explain_feed(feed, status)
        age_s = feed.last_record_age_s
        at = None if age_s is None else nearest_of_unix(feed.sampled_at_s - age_s)
        rows.append(Freshness(spec.table, spec.name, "feed", why.fresh, at, age_s, why.sentence))
    return rows


async def of_jobs(
    connection: Connection, *, keys: Mapping[str, int], scheduled: bool
) -> list[Freshness]:
    """Return the jobs' tables; `keys` is how many keys each provider has."""
    now = datetime.now(UTC)
    last = await last_runs(connection)
    cursor = await connection.execute(COLLECTED)
    collected: dict[str, datetime] = {job: finished_at async for job, finished_at in cursor}
    rows: list[Freshness] = []
    for spec in all_jobs():
        why = explain(spec, last.get(spec.name), now=now, keys=keys, scheduled=scheduled)
        at = collected.get(spec.name)
        age_s = None if at is None else (now - at).total_seconds()
        for table in spec.tables:
            fresh = table_is_fresh(job_is_fresh=why.fresh, age_s=age_s, limit=table.fresh)
            rows.append(Freshness(table.name, spec.name, "job", fresh, at, age_s, why.sentence))
    return rows
