"""
Decide from counted facts whether every record is accounted for. Pure.

A producer numbers its records from 1 per (feed, shard, epoch). Each number that it issued must
therefore be in exactly one of four groups:

    issued = stored + parked (a dead letter) + notices (no row) + lost

where every lost number is named by a row in `gaps`. Five independent checks per epoch compare these
groups, so that a problem names the count that is wrong:

    missing      issued - arrived - lost           not yet, or never, arrived
    duplicates   rows - distinct numbers in rows   the history table holds a number twice
    rows         distinct numbers - stored         the table differs from the consumers' count
    counters     stored + parked + notices - seen  the consumers' counts contradict each other
    gaps         lost - numbers named in `gaps`    a loss without its row

A sixth check per feed compares Redis with the newest rows.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Literal

Kind = Literal[
    "missing", "duplicates", "rows", "counters", "gaps", "redis_behind", "unreachable"
]  # programs read these words: they do not change
SHOWN_NAMES = 5  # in a sentence


@dataclass(frozen=True, slots=True)
class EpochFacts:
    """
    The counts of one producer's epoch.

    Attributes:
        highest: The highest number that the broker acknowledged or that arrived.
        seen: Numbers that arrived.
        missing: Numbers up to `highest` that neither arrived nor are recorded as lost.
        missing_ranges: The first missing ranges: first and last number.
        stored: Rows that the consumer counted.
        parked: Records that the consumer put into `dead_letters`.
        notices: Numbers without a row: gaps that the producer reported, and snapshots that repeat
            a stored trade.
        lost: Numbers recorded as lost.
        unrecorded: Lost numbers that no row of `gaps` names.
        rows: Rows in the history table.
        identities: Distinct numbers in those rows.
    """

    shard: int
    epoch: int
    highest: int = 0
    seen: int = 0
    missing: int = 0
    missing_ranges: tuple[tuple[int, int], ...] = ()
    stored: int = 0
    parked: int = 0
    notices: int = 0
    lost: int = 0
    unrecorded: int = 0
    rows: int = 0
    identities: int = 0

    @property
    def label(self) -> str:
        """The shard and the epoch, for sentences."""
        return f"shard {self.shard}, epoch {self.epoch}"


@dataclass(frozen=True, slots=True)
class FeedFacts:
    """
    The counts of one feed.

    Attributes:
        waiting: Records in Kafka that no consumer has stored yet.
        gaps: Rows in `gaps`.
        dead_letters: Open dead letters.
        behind: Symbols that have a newer value in Postgres than in Redis.
    """

    feed: str
    epochs: tuple[EpochFacts, ...] = ()
    waiting: int = 0
    gaps: int = 0
    dead_letters: int = 0
    behind: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Outage:
    """A store that could not be read."""

    store: str
    detail: str
    fix: str


@dataclass(frozen=True, slots=True)
class Facts:
    """The facts that an audit judges."""

    feeds: tuple[FeedFacts, ...]
    outages: tuple[Outage, ...] = ()


@dataclass(frozen=True, slots=True)
class Problem:
    """Something unexplained: how many records or rows, a sentence, and the likely fix."""

    kind: Kind
    count: int
    text: str
    fix: str


@dataclass(frozen=True, slots=True)
class FeedAudit:
    """
    The audit of one feed; the field names are those of the JSON form.

    If nothing is unexplained, published = stored + parked + lost.
    """

    feed: str
    published: int
    stored: int
    duplicates: int
    missing: int
    gaps: int
    dead_letters: int
    redis_behind: int
    unexplained: int
    parked: int
    lost: int
    waiting: int
    problems: tuple[Problem, ...]


@dataclass(frozen=True, slots=True)
class Audit:
    """The audit of all feeds."""

    feeds: tuple[FeedAudit, ...]
    problems: tuple[Problem, ...]  # of the stores, not of a feed

    @property
    def clean(self) -> bool:
        """Whether everything is explained."""
        return not self.problems and not any(feed.problems for feed in self.feeds)

    def as_json(self) -> dict[str, object]:
        """
        Return the JSON form; its names are stable:

        {"clean": true,
         "feeds": {"sp500": {"published": 10, "stored": 9, "duplicates": 0, "missing": 0,
                             "gaps": 1, "dead_letters": 1, "redis_behind": 0, "unexplained": 0,
                             "parked": 1, "lost": 0, "waiting": 0,
                             "problems": [{"kind", "count", "text", "fix"}]}},
         "problems": []}
        """
        return {
            "clean": self.clean,
            "feeds": {feed.feed: _without_name(feed) for feed in self.feeds},
            "problems": [asdict(problem) for problem in self.problems],
        }


def audit(facts: Facts) -> Audit:
    """Judge the facts. An unreachable store is a problem too: without it nothing is proven."""
    return Audit(
        tuple(_judge(feed) for feed in facts.feeds),
        tuple(
            Problem("unreachable", 1, f"{outage.store}: {outage.detail}", outage.fix)
            for outage in facts.outages
        ),
    )


def _judge(feed: FeedFacts) -> FeedAudit:
    epochs = feed.epochs
    problems = tuple(_problems(feed))
    return FeedAudit(
        feed=feed.feed,
        # A notice uses a number, but it is not data.
        published=sum(epoch.highest - epoch.notices for epoch in epochs),
        stored=sum(epoch.rows for epoch in epochs),
        duplicates=sum(epoch.rows - epoch.identities for epoch in epochs),
        missing=sum(epoch.missing for epoch in epochs),
        gaps=feed.gaps,
        dead_letters=feed.dead_letters,
        redis_behind=len(feed.behind),
        unexplained=sum(problem.count for problem in problems),
        parked=sum(epoch.parked for epoch in epochs),
        lost=sum(epoch.lost for epoch in epochs),
        waiting=feed.waiting,
        problems=problems,
    )


def _problems(feed: FeedFacts) -> Iterator[Problem]:
    for epoch in feed.epochs:
        for kind, count, text, fix in _checks(epoch, waiting=feed.waiting):
            if count:
                yield Problem(kind, count, f"{epoch.label}: {text}", fix)
    if feed.behind:
        yield Problem(
            "redis_behind",
            len(feed.behind),
            f"Redis holds older values than Postgres for {names(feed.behind)}",
            "the consumer rebuilds Redis by itself; if it does not, restart the consumer and "
            "see `ray-pipeline status`",
        )


def _checks(epoch: EpochFacts, *, waiting: int) -> Iterator[tuple[Kind, int, str, str]]:
    """Yield each check of an epoch: its kind, the unexplained count, the sentence and the fix."""
    ranges = ", ".join(f"{first}-{last}" for first, last in epoch.missing_ranges)
    missing = f"{epoch.missing} published records did not arrive ({ranges})"
    # Records that still wait in Kafka are late, not lost; only an empty topic proves a loss.
    if waiting:
        missing += f"; {waiting} records of the feed still wait in Kafka"
        fix = "start the consumers, or give them longer with --wait"
    else:
        missing += ", and Kafka holds no more"
        fix = "the broker lost them; `ray-pipeline replay` brings back what the archive has"
    yield "missing", epoch.missing, missing, fix

    duplicates = epoch.rows - epoch.identities
    text = f"{duplicates} rows have a number that another row has"
    fix = (
        "another program than the consumers wrote to the table; compare rows by "
        "(pod_index, epoch, seq) and delete the newer ids"
    )
    yield "duplicates", duplicates, text, fix

    # Compared by distinct numbers: a duplicate is reported by its own check, and once only.
    deleted = max(epoch.stored - epoch.identities, 0)
    text = f"{deleted} records that were stored are no longer in the table"
    fix = (
        "they were deleted, or a partition was dropped; `ray-pipeline replay` into an empty "
        "database brings back what the archive has"
    )
    yield "rows", deleted, text, fix
    foreign = max(epoch.identities - epoch.stored, 0)
    text = f"the table has {foreign} rows that no consumer counted"
    yield "rows", foreign, text, "another program than the consumers wrote to the table"

    # Each number that arrived was counted in exactly one of three columns, in the transaction that
    # also extended `seen`: a difference cannot come from a crash.
    counted = epoch.stored + epoch.parked + epoch.notices
    text = (
        f"{epoch.seen} numbers arrived, but {epoch.stored} stored, {epoch.parked} parked and "
        f"{epoch.notices} notices make {counted}"
    )
    fix = "stream_sequences was edited, or a consumer has a bug; please report it"
    yield "counters", abs(counted - epoch.seen), text, fix

    text = f"{epoch.unrecorded} lost records have no row in gaps"
    yield "gaps", epoch.unrecorded, text, "rows of gaps were deleted; restore them"


def names(symbols: Sequence[str]) -> str:
    """Return the first few names, and how many follow."""
    shown = ", ".join(symbols[:SHOWN_NAMES])
    more = len(symbols) - SHOWN_NAMES
    return f"{shown} and {more} more" if more > 0 else shown


def _without_name(feed: FeedAudit) -> dict[str, object]:
    return {key: value for key, value in asdict(feed).items() if key != "feed"}
