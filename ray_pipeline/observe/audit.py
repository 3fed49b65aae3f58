"""
Decide from counted facts whether every record is accounted for.

A producer numbers its records from 1 per (feed, shard, epoch). So each number that was issued is
stored, parked with a reason, a notice, or lost with a row in `gaps`. Whatever is none of these, is
there twice, or is newer in Postgres than in Redis, is unexplained.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Literal

Kind = Literal[
    "missing", "duplicates", "rows", "counters", "gaps", "redis_behind", "unreachable"
]  # stable words, for programs
SHOWN = 5  # names in a sentence; more of them explain nothing more


@dataclass(frozen=True, slots=True)
class EpochFacts:
    """
    What is known of one producer's epoch.

    Attributes:
        highest: Highest number that was issued: acknowledged by the broker, or arrived.
        seen: Numbers that arrived.
        missing: Numbers that were issued, have not arrived and are not known as lost.
        missing_ranges: The first of them, first and last number each.
        stored: Rows that the consumer counted.
        parked: Records that the consumer put into `dead_letters`.
        notices: Gaps that the producer reported; they use numbers too.
        lost: Numbers known as lost.
        unrecorded: Those of them that no row of `gaps` names.
        rows: Rows in the history table.
        identities: Distinct numbers among them.
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
    def place(self) -> str:
        """Where this is, for sentences."""
        return f"shard {self.shard}, epoch {self.epoch}"


@dataclass(frozen=True, slots=True)
class FeedFacts:
    """
    What is known of one feed.

    Attributes:
        waiting: Records in Kafka that no consumer has stored yet.
        gaps: Rows in `gaps`.
        dead_letters: Open ones.
        behind: Symbols whose newest row in Postgres is newer than what Redis holds.
    """

    feed: str
    epochs: tuple[EpochFacts, ...] = ()
    waiting: int = 0
    gaps: int = 0
    dead_letters: int = 0
    behind: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Outage:
    """A store that could not be asked."""

    store: str
    detail: str
    fix: str


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything an audit judges."""

    feeds: tuple[FeedFacts, ...]
    outages: tuple[Outage, ...] = ()


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is unexplained: how much of it, in a sentence, and what likely mends it."""

    kind: Kind
    count: int
    text: str
    fix: str


@dataclass(frozen=True, slots=True)
class FeedAudit:
    """
    The judgement on one feed; the field names are those of the JSON form.

    published = stored + parked + lost + missing, when nothing is unexplained.
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
    """The judgement on all feeds."""

    feeds: tuple[FeedAudit, ...]
    problems: tuple[Problem, ...]  # of the stores, not of a feed

    @property
    def clean(self) -> bool:
        """Whether everything is explained."""
        return not self.problems and not any(feed.problems for feed in self.feeds)

    def as_json(self) -> dict[str, object]:
        """
        Return the JSON form, whose names are stable:

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
    """Judge the facts. An unreachable store is a problem of its own: nothing was proven."""
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
        yield from _missing(epoch, waiting=feed.waiting)
        yield from _duplicates(epoch)
        yield from _rows(epoch)
        yield from _counters(epoch)
        yield from _unrecorded(epoch)
    if feed.behind:
        yield Problem(
            "redis_behind",
            len(feed.behind),
            f"Redis holds older values than Postgres for {names(feed.behind)}",
            "the consumer rebuilds Redis by itself; if it does not, restart the consumer and "
            "see `ray-pipeline status`",
        )


def _missing(epoch: EpochFacts, *, waiting: int) -> Iterator[Problem]:
    if not epoch.missing:
        return
    which = ", ".join(f"{first}-{last}" for first, last in epoch.missing_ranges)
    text = f"{epoch.place}: {epoch.missing} published records did not arrive ({which})"
    if waiting:
        yield Problem(
            "missing",
            epoch.missing,
            f"{text}; {waiting} records of the feed still wait in Kafka",
            "start the consumers, or give them longer with --wait",
        )
    else:
        yield Problem(
            "missing",
            epoch.missing,
            f"{text}, and Kafka holds no more",
            "the broker lost them; `ray-pipeline replay` brings back what the archive has",
        )


def _duplicates(epoch: EpochFacts) -> Iterator[Problem]:
    twice = epoch.rows - epoch.identities
    if twice:
        yield Problem(
            "duplicates",
            twice,
            f"{epoch.place}: {twice} rows carry a number that another row has",
            "something else than the consumers wrote to the table; compare rows by "
            "(pod_index, epoch, seq) and delete the newer ids",
        )


def _rows(epoch: EpochFacts) -> Iterator[Problem]:
    extra = epoch.identities - epoch.stored
    if extra < 0:
        yield Problem(
            "rows",
            -extra,
            f"{epoch.place}: {-extra} records that were stored are no longer in the table",
            "they were deleted, or a partition was dropped; `ray-pipeline replay` into an empty "
            "database brings back what the archive has",
        )
    if extra > 0:
        yield Problem(
            "rows",
            extra,
            f"{epoch.place}: the table has {extra} rows that no consumer counted",
            "something else than the consumers wrote to the table",
        )


def _counters(epoch: EpochFacts) -> Iterator[Problem]:
    counted = epoch.stored + epoch.parked + epoch.notices
    if counted != epoch.seen:
        yield Problem(
            "counters",
            abs(counted - epoch.seen),
            f"{epoch.place}: {epoch.seen} numbers arrived, but {epoch.stored} stored, "
            f"{epoch.parked} parked and {epoch.notices} notices make {counted}",
            "stream_sequences was edited, or a consumer has a bug; please report it",
        )


def _unrecorded(epoch: EpochFacts) -> Iterator[Problem]:
    if epoch.unrecorded:
        yield Problem(
            "gaps",
            epoch.unrecorded,
            f"{epoch.place}: {epoch.unrecorded} lost records have no row in gaps",
            "rows of gaps were deleted; restore them",
        )


def names(symbols: Sequence[str]) -> str:
    """Return the first few names, and how many more there are."""
    shown = ", ".join(symbols[:SHOWN])
    more = len(symbols) - SHOWN
    return f"{shown} and {more} more" if more > 0 else shown


def _without_name(feed: FeedAudit) -> dict[str, object]:
    return {key: value for key, value in asdict(feed).items() if key != "feed"}
