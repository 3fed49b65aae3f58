"""The pipeline's metrics: their names, labels and values."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from ray_pipeline.observe.status import FeedRow, Status

Kind = Literal["counter", "gauge", "histogram"]
_SQLSTATE = re.compile(r"SQLSTATE (\w{5})")  # in the texts of `database_errors.unavailable`


@dataclass(frozen=True, slots=True)
class Metric:
    """
    The definition of a metric.

    Attributes:
        kind: A counter only grows; a histogram counts observations by size.
        description: One line, for the metrics endpoint.
        tags: The names of its labels.
        boundaries: The upper bounds of a histogram's buckets.
    """

    kind: Kind
    description: str
    tags: tuple[str, ...]
    boundaries: tuple[float, ...] = ()


# Ray exports each with the prefix `ray_`, and counters with the suffix `_total`.
METRICS: Mapping[str, Metric] = {
    "pipeline_records_published": Metric(
        "counter", "Records that the broker confirmed.", ("feed", "shard")
    ),
    "pipeline_records_spooled": Metric(
        "gauge", "Records on disk that wait for the broker.", ("feed", "shard")
    ),
    "pipeline_reconnects": Metric(
        "counter", "Connections to a provider after the first.", ("feed", "shard")
    ),
    "pipeline_records_stored": Metric(
        "counter", "Records committed to Postgres.", ("feed", "shard")
    ),
    "pipeline_consumer_state": Metric(
        "gauge",
        "1 for the current state of a consumer, such as storing or waiting for postgres, with the "
        "SQLSTATE of the error that it waits for.",
        ("feed", "shard", "state", "sqlstate"),
    ),
    "pipeline_lag_records": Metric(
        "gauge", "Records that wait in Kafka.", ("feed", "shard")
    ),
    "pipeline_topic_partitions": Metric(
        "gauge", "Partitions of a feed's topic: source is settings or broker.", ("feed", "source")
    ),
    "pipeline_unread_records": Metric(
        "gauge", "Records in partitions that no consumer reads.", ("feed",)
    ),
    "pipeline_store_latency_ms": Metric(
        "histogram",
        "From a record's arrival at the producer to its commit, the oldest of each batch.",
        ("feed", "shard"),
        (2.0, 5.0, 10.0, 20.0, 40.0, 80.0, 160.0, 500.0, 1_000.0, 5_000.0, 30_000.0, 300_000.0),
    ),
    "pipeline_feed_age_s": Metric(
        "gauge", "Age of a feed's newest stored record, in seconds.", ("feed",)
    ),
    "pipeline_redis_bytes": Metric(
        "gauge", "Memory of a feed's values of single seconds in Redis.", ("feed",)
    ),
    "pipeline_redis_budget_bytes": Metric(
        "gauge", "Limit of that memory, for all feeds together.", ("feed",)
    ),
    "pipeline_redis_retention_s": Metric(
        "gauge", "For how long Redis keeps the values of single seconds.", ("feed",)
    ),
    "pipeline_symbols_wanted": Metric("gauge", "Symbols to collect.", ("feed",)),
    "pipeline_symbols_confirmed": Metric("gauge", "Symbols that a provider confirmed.", ("feed",)),
    "pipeline_gaps": Metric("counter", "Gaps recorded.", ("feed",)),
    "pipeline_dead_letters": Metric("gauge", "Open dead letters.", ("feed", "reason")),
    "pipeline_quota_used_ratio": Metric(
        "gauge", "Share of a quota that is used: 0 to 1.", ("provider", "key", "window")
    ),
    "pipeline_quota_left": Metric(
        "gauge", "Calls that a quota leaves.", ("provider", "key", "window")
    ),
    "pipeline_quota_clock_jump_seconds": Metric(
        "gauge", "By how much the clock of Postgres jumped forward, until it is accepted.", ()
    ),
    "pipeline_runs": Metric("counter", "Runs that ended, by outcome.", ("job", "state")),
    "pipeline_actor_up": Metric("gauge", "1: the actor answers; 0: it does not.", ("actor",)),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Sample:
    """One value of a metric: the total so far of a counter, one observation of a histogram."""

    metric: str
    value: float
    tags: Mapping[str, str] = field(default_factory=dict)


def producer_metrics(status: Mapping[str, object]) -> Iterator[Sample]:
    """Yield the numbers in a producer's status."""
    if "published" not in status:
        return
    tags = {"feed": str(status["feed"]), "shard": str(status["shard"])}
    yield Sample("pipeline_records_published", _number(status["published"]), tags)
    yield Sample("pipeline_records_spooled", _number(status["spooled"]), tags)
    yield Sample("pipeline_reconnects", _number(status["reconnects"]), tags)


def consumer_metrics(
    feed: str,
    number: str,
    *,
    stored: int,
    lag: Mapping[int, int],
    latencies_ms: Iterable[float],
    situation: tuple[str, str],
) -> Iterator[Sample]:
    """
    Yield a consumer's numbers; `number` distinguishes the consumers of a feed.

    The state and cause in `situation` become labels. A cause differs from error to error, so only
    its SQLSTATE does.
    """
    tags = {"feed": feed, "shard": number}
    state, cause = situation
    code = _SQLSTATE.search(cause)
    labels = {"state": state, "sqlstate": code[1] if code else ""}
    yield Sample("pipeline_consumer_state", 1.0, {**tags, **labels})
    yield Sample("pipeline_records_stored", stored, tags)
    yield Sample("pipeline_lag_records", sum(lag.values()), tags)
    for latency_ms in latencies_ms:
        yield Sample("pipeline_store_latency_ms", latency_ms, tags)


def status_metrics(page: Status) -> Iterator[Sample]:
    """Yield the numbers on the status page."""
    for row in page.feeds:
        if not row.enabled:
            continue
        tags = {"feed": row.feed}
        yield Sample("pipeline_symbols_wanted", row.symbols_wanted, tags)
        yield Sample("pipeline_symbols_confirmed", row.symbols_confirmed, tags)
        if row.last_record_age_s is not None:
            yield Sample("pipeline_feed_age_s", row.last_record_age_s, tags)
        yield from _redis_metrics(row)
    for topic in page.topics:
        tags = {"feed": topic.feed}
        for source, count in (("settings", topic.configured), ("broker", topic.present)):
            yield Sample("pipeline_topic_partitions", count, {**tags, "source": source})
        yield Sample("pipeline_unread_records", topic.unread_records, tags)
    for group in page.dead_letters:
        tags = {"feed": group.feed, "reason": group.reason}
        yield Sample("pipeline_dead_letters", group.count, tags)


def _redis_metrics(row: FeedRow) -> Iterator[Sample]:
    for metric, value in (
        ("pipeline_redis_bytes", row.redis_bytes),
        ("pipeline_redis_budget_bytes", row.redis_budget_bytes),
        ("pipeline_redis_retention_s", row.redis_retention_s),
    ):
        if value is not None:
            yield Sample(metric, value, {"feed": row.feed})


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) else 0.0
