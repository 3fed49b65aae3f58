"""The rows of the status page, and which symbols no producer collects and why. Pure."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace

from ray_pipeline.feeds.key_plan import KeyPlan
from ray_pipeline.observe.topic_partitions import TopicRow

SILENT_AFTER_S = 15.0  # heartbeats come about once a second; this is a lease's time to live


@dataclass(frozen=True, slots=True)
class FeedRow:
    """
    One feed.

    Attributes:
        symbols_wanted: Symbols to collect.
        symbols_confirmed: Symbols that have had data or a confirmation.
        shards_running, shards_known: Producers that are alive, and that ever ran.
        stored: Records, over all time.
        lag: Records in Kafka that are not stored yet.
        last_record_age_s: Seconds since the newest stored record was received; None before the
            first one.
        gaps_24h: Gaps recorded in the last 24 hours.
        redis_state: What the consumers report about Redis.
        sampled_at_s: Database time of this row, seconds since the epoch.
        records_per_s: Records stored per second between two samples; None for a single sample.
        redis_bytes: Memory of its values of single seconds in Redis; None before the first report.
        redis_budget_bytes: Limit of that memory, for all feeds together.
        redis_retention_s: Redis keeps the values of single seconds for this time.
        redis_shortened: Why that is less than the configured time to live; empty if it is not.
        enabled: Whether the settings let the feed run.
    """

    feed: str
    symbols_wanted: int
    symbols_confirmed: int
    shards_running: int
    shards_known: int
    stored: int
    lag: int
    last_record_age_s: float | None
    gaps_24h: int
    redis_state: str
    sampled_at_s: float
    records_per_s: float | None = None
    redis_bytes: int | None = None
    redis_budget_bytes: int | None = None
    redis_retention_s: float | None = None
    redis_shortened: str = ""
    enabled: bool = True


@dataclass(frozen=True, slots=True)
class ShardRow:
    """What the newest producer of a shard reports."""

    feed: str
    shard: int
    epoch: int
    holder: str
    state: str
    cause: str
    connected: bool
    stopped: bool
    wanted: int
    confirmed: int
    received: int
    published: int
    spooled: int
    reconnects: int
    last_data_age_s: float | None
    heartbeat_age_s: float

    @property
    def running(self) -> bool:
        """Whether the producer is alive, connected or not."""
        return not self.stopped and self.heartbeat_age_s < SILENT_AFTER_S

    @property
    def remark(self) -> str:
        """Why it collects nothing, or what is wrong although it collects; empty if all is well."""
        return self.trouble or self.cause

    @property
    def trouble(self) -> str:
        """Explanation it collects nothing, empty where it collects."""
        if self.stopped:
            return self.cause or "stopped"
        if not self.running:
            return f"no sign of life for {self.heartbeat_age_s:.0f} s"
        return "" if self.connected else self.cause or self.state


@dataclass(frozen=True, slots=True)
class ConsumerRow:
    """What the consumer of a partition reports."""

    topic: str
    partition: int
    holder: str
    state: str
    cause: str
    lag: int
    next_offset: int
    redelivered: int
    redis_state: str
    heartbeat_age_s: float

    @property
    def trouble(self) -> str:
        """Why it stores nothing; empty while it stores."""
        if self.state == "storing" and self.heartbeat_age_s < SILENT_AFTER_S:
            return ""
        name = f"the consumer of partition {self.partition}"
        if self.heartbeat_age_s >= SILENT_AFTER_S and self.state != "stopped":
            return f"{name} has written no heartbeat for {self.heartbeat_age_s:.0f} s"
        return f"{name} is {self.state}" + (f": {self.cause}" if self.cause else "")


@dataclass(frozen=True, slots=True)
class DeadLetterRow:
    """Open dead letters of one feed and reason."""

    feed: str
    reason: str
    count: int
    newest_age_s: float


@dataclass(frozen=True, slots=True)
class UncoveredSymbols:
    """Symbols that no producer collects, and why; no symbols if their list is not known yet."""

    feed: str
    why: str
    symbols: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Assignments:
    """The symbols of one feed by shard, and those that no shard has room for."""

    feed: str
    by_shard: Mapping[int, tuple[str, ...]]
    unassigned: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Status:
    """
    The status page.

    Attributes:
        database: Why Postgres accepts no writes, and how to change that; empty if it does.
    """

    feeds: tuple[FeedRow, ...]
    shards: tuple[ShardRow, ...]
    consumers: tuple[ConsumerRow, ...]
    dead_letters: tuple[DeadLetterRow, ...]
    uncovered: tuple[UncoveredSymbols, ...]
    topics: tuple[TopicRow, ...] = ()
    database: str = ""

    def as_json(self) -> dict[str, object]:
        """Return the JSON form: the fields of the rows, by their names."""
        return {
            "feeds": {row.feed: asdict(row) for row in self.feeds},
            "shards": [{**asdict(row), "running": row.running} for row in self.shards],
            "consumers": [asdict(row) for row in self.consumers],
            "dead_letters": [asdict(row) for row in self.dead_letters],
            "uncovered": [asdict(row) for row in self.uncovered],
            "topics": [row.as_json() for row in self.topics],
            "database": self.database,
        }


def with_rates(earlier: Iterable[FeedRow], later: Iterable[FeedRow]) -> list[FeedRow]:
    """Return the later rows with the records per second since the earlier ones."""
    before = {row.feed: row for row in earlier}
    return [
        replace(row, records_per_s=_rate(before[row.feed], row)) if row.feed in before else row
        for row in later
    ]


def _rate(before: FeedRow, after: FeedRow) -> float | None:
    # Both times come from the database: the clocks of two readers may differ.
    passed_s = after.sampled_at_s - before.sampled_at_s
    return (after.stored - before.stored) / passed_s if passed_s > 0 else None


def uncovered(
    assignments: Assignments, shards: Sequence[ShardRow], *, plan: KeyPlan | None = None
) -> Iterator[UncoveredSymbols]:
    """
    Yield the symbols of a feed that no producer collects, by reason.

    Args:
        assignments: What to collect.
        shards: The feed's newest producers.
        plan: Which connection uses which API key; None if the feed needs no key.
    """
    # By shard, because one cause affects all symbols of a shard; shards that work yield no row.
    feed, rows = assignments.feed, {row.shard: row for row in shards}
    for shard, symbols in sorted(assignments.by_shard.items()):
        why = rows[shard].trouble if shard in rows else _never_ran(feed, shard, plan)
        if why:
            yield UncoveredSymbols(feed, f"shard {shard}: {why}", symbols)
    if assignments.unassigned:
        yield UncoveredSymbols(feed, _no_shard(feed, shards, plan), assignments.unassigned)


def _never_ran(feed: str, shard: int, plan: KeyPlan | None) -> str:
    number = None if plan is None else plan.number(feed, shard)
    if plan is not None and number is not None and number > plan.keys:
        return f"no API key: {plan.keys} set, shard {shard} needs {number}"
    return "no producer has run yet"


def _no_shard(feed: str, shards: Sequence[ShardRow], plan: KeyPlan | None) -> str:
    # A producer assigns symbols only while it collects. If none collects, its cause is the reason.
    if shards and all(row.trouble for row in shards):
        return shards[0].trouble
    return "no connection has room for them" + (
        "" if plan is None else f": {plan.with_key(feed)} API keys are set, one per connection"
    )
