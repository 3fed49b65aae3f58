"""What runs, how far it is, and what is not covered and why: values for one page."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace

SILENT_AFTER_S = 15.0  # heartbeats come about once a second; this is a lease's time to live


@dataclass(frozen=True, slots=True)
class FeedRow:
    """
    One feed at a glance.

    Attributes:
        symbols_wanted, symbols_confirmed: Should be collected; have had data or an answer.
        shards_running, shards_known: Producers.
        stored: Records, over all time.
        lag: Records in Kafka that are not stored yet.
        last_record_age_s: Seconds since the newest stored record was received; None before any.
        gaps_24h: Gaps recorded in the last 24 hours.
        redis_state: What the consumers say about Redis.
        sampled_at_s: Database time of this row, seconds since the epoch.
        records_per_s: Stored per second between two samples; None of a single one.
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


@dataclass(frozen=True, slots=True)
class ShardRow:
    """What the newest producer of a shard says of itself."""

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
        """Whether a producer is alive; it may still be without a connection."""
        return not self.stopped and self.heartbeat_age_s < SILENT_AFTER_S

    @property
    def trouble(self) -> str:
        """Why it collects nothing, empty where it collects."""
        if self.stopped:
            return self.cause or "stopped"
        if not self.running:
            return f"no sign of life for {self.heartbeat_age_s:.0f} s"
        return "" if self.connected else self.cause or self.state


@dataclass(frozen=True, slots=True)
class ConsumerRow:
    """What the consumer of a partition says of itself."""

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


@dataclass(frozen=True, slots=True)
class DeadLetterRow:
    """Open dead letters of one feed and reason."""

    feed: str
    reason: str
    count: int
    newest_age_s: float


@dataclass(frozen=True, slots=True)
class Uncovered:
    """Symbols that nobody collects, and why."""

    feed: str
    why: str
    symbols: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What should be collected of one feed: symbols by shard, and those without a shard."""

    feed: str
    by_shard: Mapping[int, tuple[str, ...]]
    unassigned: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Status:
    """The whole page."""

    feeds: tuple[FeedRow, ...]
    shards: tuple[ShardRow, ...]
    consumers: tuple[ConsumerRow, ...]
    dead_letters: tuple[DeadLetterRow, ...]
    uncovered: tuple[Uncovered, ...]

    def as_json(self) -> dict[str, object]:
        """Return the JSON form: the fields of the rows, by their names."""
        return {
            "feeds": {row.feed: asdict(row) for row in self.feeds},
            "shards": [{**asdict(row), "running": row.running} for row in self.shards],
            "consumers": [asdict(row) for row in self.consumers],
            "dead_letters": [asdict(row) for row in self.dead_letters],
            "uncovered": [asdict(row) for row in self.uncovered],
        }


def with_rates(earlier: Iterable[FeedRow], later: Iterable[FeedRow]) -> list[FeedRow]:
    """Return the later rows with the records per second since the earlier ones."""
    before = {row.feed: row for row in earlier}
    return [
        replace(row, records_per_s=_rate(before[row.feed], row)) if row.feed in before else row
        for row in later
    ]


def _rate(before: FeedRow, after: FeedRow) -> float | None:
    passed_s = after.sampled_at_s - before.sampled_at_s
    return (after.stored - before.stored) / passed_s if passed_s > 0 else None


def uncovered(
    wanted: Wanted, shards: Sequence[ShardRow], *, keys: int | None = None
) -> Iterator[Uncovered]:
    """
    Yield the symbols of a feed that nobody collects, by reason.

    Args:
        wanted: What should be collected.
        shards: The feed's newest producers.
        keys: How many API keys the feed has; None where it needs none.
    """
    rows = {row.shard: row for row in shards}
    for shard, symbols in sorted(wanted.by_shard.items()):
        why = rows[shard].trouble if shard in rows else _never_ran(shard, keys)
        if why and symbols:
            yield Uncovered(wanted.feed, f"shard {shard}: {why}", symbols)
    if wanted.unassigned:
        yield Uncovered(wanted.feed, _no_shard(shards, keys), wanted.unassigned)


def _never_ran(shard: int, keys: int | None) -> str:
    if keys is not None and shard >= keys:
        return f"no API key: {keys} set, shard {shard} needs {shard + 1}"
    return "no producer has run yet"


def _no_shard(shards: Sequence[ShardRow], keys: int | None) -> str:
    # A producer assigns symbols only while it collects. If none collects, its cause is the reason.
    if shards and all(row.trouble for row in shards):
        return shards[0].trouble
    return "no connection has room for them" + (
        "" if keys is None else f": {keys} API keys are set, one per connection"
    )


def age(seconds: float | None) -> str:
    """Return an age in the unit that fits: `0.4 s`, `12 s`, `3 min`, `5 h`, `2 d`."""
    if seconds is None:
        return "never"
    if seconds < 10:
        return f"{max(seconds, 0.0):.1f} s"
    for limit_s, unit_s, unit in ((120, 1, "s"), (7200, 60, "min"), (172_800, 3600, "h")):
        if seconds < limit_s:
            return f"{seconds / unit_s:.0f} {unit}"
    return f"{seconds / 86_400:.0f} d"
