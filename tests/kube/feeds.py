"""What the tests know about collected data."""

import time
from dataclasses import dataclass

from ray_pipeline.feeds.feed_registry import FEEDS
from tests.kube.cluster import sql, until

FRESH_S = 300.0
Counts = dict[tuple[str, int], int]


def row_counts() -> Counts:
    """Return how many rows each feed and shard has stored."""
    query = " UNION ALL ".join(
        f"SELECT '{feed.name}', pod_index, count(*) FROM {feed.table} GROUP BY pod_index"
        for feed in FEEDS
    )
    return {(name, int(shard)): int(count) for name, shard, count in sql(query)}


def wait_for_fresh_rows(*, timeout_s: float = FRESH_S) -> None:
    """Wait until every feed has rows, and every shard has more than at the call."""
    before = row_counts()

    def are_fresh() -> bool:
        after = row_counts()
        return {name for name, _ in after} == {feed.name for feed in FEEDS} and all(
            after[shard] > count for shard, count in before.items()
        )

    until(are_fresh, timeout_s=timeout_s, expected=f"new rows of every feed after {before}")


@dataclass(frozen=True, slots=True)
class Pause:
    """The longest time in which a feed received nothing; of its shards the worst."""

    feed: str
    seconds: float


def longest_pauses(since_s: float) -> list[Pause]:
    """Return the longest pause of each feed since a time (seconds since the epoch)."""
    since = f"to_timestamp({since_s}) AT TIME ZONE 'UTC'"
    query = " UNION ALL ".join(
        f"SELECT '{feed.name}', coalesce(extract(epoch FROM max(pause)), 0) FROM ("
        f"SELECT created_at - lag(created_at) OVER (PARTITION BY pod_index ORDER BY created_at)"
        f" AS pause FROM {feed.table} WHERE created_at > {since}) AS pauses"
        for feed in FEEDS
    )
    return [Pause(name, float(seconds)) for name, seconds in sql(query)]


def gap_count(since_s: float) -> int:
    """Return how many gaps were recorded since a time."""
    return int(sql(f"SELECT count(*) FROM gaps WHERE recorded_at > to_timestamp({since_s})")[0][0])


def now_s() -> float:
    """Return the time of this machine, which the node shares."""
    return time.time()
