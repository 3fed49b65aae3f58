"""
Compare what the venue sent with what is stored. Pure: it decides on facts that others have read.

A missing trade is explained if it would have been received during a gap of its shard, or if its
number is in a gap of numbers. The times of a gap are times of receipt. So a trade that was sent at
`t` is compared with its time of receipt: `t` plus the time that its predecessor on the same
connection took to arrive. Its number follows from the number of that predecessor.

A gap is true if a trade is missing in its time, if a connection of its shard began or ended in it,
or if a fault kept records from its shard.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tests.chaos.sent_log import SentLog, SentTrade

# A producer notes the time of a frame a moment after the venue wrote it, and busy processes wait
# for a core.
SLACK_S = 0.5
EVERY_SHARD = -1  # the shard of a gap that is not one shard's


@dataclass(frozen=True, slots=True)
class GapWindow:
    """
    A row of `gaps`; times in seconds since the epoch, corrected by the fault of the clock.

    Attributes:
        from_s, to_s: The time without data.
        symbols: The symbols; None for all of the shard.
        text: The row, for messages.
    """

    id: int
    shard: int
    epoch: int
    kind: str
    from_s: float
    to_s: float
    symbols: frozenset[str] | None
    first_seq: int | None
    last_seq: int | None
    text: str

    def holds(self, shard: int, symbol: str, *, from_s: float, to_s: float) -> bool:
        """Return whether it covers a moment between two times."""
        if self.shard not in (shard, -1) or (
            self.symbols is not None and symbol not in self.symbols
        ):
            return False
        return self.from_s <= to_s and from_s <= self.to_s


@dataclass(frozen=True, slots=True)
class FaultWindow:
    """A time in which a fault of ours may have kept some shards from their records."""

    from_s: float
    to_s: float
    shards: frozenset[int]

    def kept(self, shard: int, *, from_s: float, to_s: float) -> bool:
        """Return whether it may have kept records of a shard between two times; -1: of any."""
        if shard not in self.shards and not (shard == EVERY_SHARD and self.shards):
            return False
        return self.from_s <= to_s and from_s <= self.to_s


@dataclass(frozen=True, slots=True)
class StoredFacts:
    """
    What the stores hold.

    Attributes:
        rows: How often each trade is stored, by its key.
        parked: How often each trade is in a dead letter, by its key.
        gaps: The gaps.
        arrived: Numbers that arrived, by shard and epoch: ranges [start, end).
    """

    rows: Counter[str]
    parked: Counter[str]
    gaps: Sequence[GapWindow]
    arrived: Mapping[tuple[int, int], Sequence[tuple[int, int]]]


@dataclass(slots=True)
class Verdict:
    """The result: counts, a text for each violation, and details for the logs."""

    sent: int = 0
    stored: int = 0
    parked: int = 0
    explained: int = 0
    unexplained: int = 0
    duplicates: int = 0
    unknown: int = 0
    gaps: int = 0
    false_gaps: int = 0
    violations: list[str] = field(default_factory=list)
    details: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Receipt:
    """When a stored trade was received, in real time, and its number."""

    received_s: float
    epoch: int
    seq: int


@dataclass(frozen=True, slots=True)
class MissingTrade:
    """
    A trade that is not stored.

    Attributes:
        before: The last trade of its connection before it that is stored.
        distance: How many trades of the connection it comes after that one.
    """

    trade: SentTrade
    before: SentTrade | None
    distance: int = 1


@dataclass(frozen=True, slots=True)
class Expected:
    """When a missing trade would have been received, and its number if it had been published."""

    trade: SentTrade
    from_s: float
    to_s: float
    epoch: int = 0
    seq: int = 0

    def explained_by(self, gap: GapWindow) -> bool:
        """Return whether a gap covers its time, or its number."""
        if gap.first_seq is not None and gap.last_seq is not None:
            numbers = range(gap.first_seq, gap.last_seq + 1)
            if (gap.shard, gap.epoch) == (self.trade.shard, self.epoch) and self.seq in numbers:
                return True
        return gap.holds(self.trade.shard, self.trade.symbol, from_s=self.from_s, to_s=self.to_s)


def missing_trades(log: SentLog, facts: StoredFacts) -> list[MissingTrade]:
    """Return the trades that are neither stored nor parked, each with its stored predecessor."""
    lacking = log.sent - facts.rows - facts.parked
    if not lacking:
        return []
    missing: list[MissingTrade] = []
    before: dict[int, SentTrade] = {}
    distances: Counter[int] = Counter()
    for trade in log.trades():
        distances[trade.connection] += 1
        if lacking[trade.key] > 0:
            lacking[trade.key] -= 1
            distance = distances[trade.connection]
            missing.append(MissingTrade(trade, before.get(trade.connection), distance))
        elif trade.key in facts.rows:
            before[trade.connection] = trade
            distances[trade.connection] = 0
    return missing


def judge(
    log: SentLog,
    facts: StoredFacts,
    missing: Sequence[MissingTrade],
    receipts: Mapping[str, Receipt],
    faults: Sequence[FaultWindow],
) -> Verdict:
    """
    Return the verdict.

    Args:
        log: What was sent.
        facts: What is stored.
        missing: The result of `missing_trades`.
        receipts: Of the predecessors of missing trades, by their key.
        faults: The faults of the run.
    """
    verdict = Verdict(sent=log.sent.total(), stored=facts.rows.total(), gaps=len(facts.gaps))
    verdict.parked = (facts.parked & (log.sent - facts.rows)).total()
    _judge_surplus(log, facts, verdict)
    expected = [_expect(item, receipts) for item in missing]
    _judge_missing(expected, facts.gaps, verdict)
    for gap in facts.gaps:
        verdict.details.append(f"gap {gap.text}, real time {gap.from_s:.3f} to {gap.to_s:.3f}")
        if reason := _untrue(gap, log, facts, expected, faults):
            verdict.false_gaps += 1
            verdict.violations.append(f"gap {gap.text} is not true: {reason}")
    return verdict


def _judge_surplus(log: SentLog, facts: StoredFacts, verdict: Verdict) -> None:
    for key, count in (facts.rows - log.sent).items():
        surplus = count - log.perhaps[key]
        if surplus <= 0:
            continue
        if key in log.sent or key in log.perhaps:
            verdict.duplicates += surplus
            verdict.violations.append(f"stored {surplus} times more often than sent: {key}")
        else:
            verdict.unknown += surplus
            verdict.violations.append(f"stored, but never sent: {key}")


def _expect(item: MissingTrade, receipts: Mapping[str, Receipt]) -> Expected:
    """Return when a missing trade would have been received, and under which number."""
    sent_s = item.trade.at_s
    receipt = receipts.get(item.before.key) if item.before else None
    if item.before is None or receipt is None:
        return Expected(item.trade, sent_s - SLACK_S, sent_s + SLACK_S)
    transit_s = max(0.0, receipt.received_s - item.before.at_s)
    return Expected(
        item.trade,
        sent_s - SLACK_S,
        sent_s + transit_s + SLACK_S,
        receipt.epoch,
        receipt.seq + item.distance,
    )


def _judge_missing(
    expected: Sequence[Expected], gaps: Sequence[GapWindow], verdict: Verdict
) -> None:
    gaps_of = {
        shard: [gap for gap in gaps if gap.shard in (shard, EVERY_SHARD)]
        for shard in {item.trade.shard for item in expected}
    }
    by_connection: dict[tuple[int, int, bool], list[SentTrade]] = {}
    for item in expected:
        trade = item.trade
        explained = any(item.explained_by(gap) for gap in gaps_of[trade.shard])
        verdict.explained += explained
        verdict.unexplained += not explained
        group = (trade.shard, trade.connection, explained)
        by_connection.setdefault(group, []).append(trade)
    for (shard, connection, explained), trades in by_connection.items():
        text = (
            f"{len(trades)} trades of shard {shard}, connection {connection}, sent from "
            f"{trades[0].at_s:.3f} to {trades[-1].at_s:.3f}, are missing "
            f"{'in a gap' if explained else 'without a gap'}; the first: {trades[0].key}"
        )
        (verdict.details if explained else verdict.violations).append(text)


def _untrue(
    gap: GapWindow,
    log: SentLog,
    facts: StoredFacts,
    expected: Sequence[Expected],
    faults: Sequence[FaultWindow],
) -> str:
    """Return why a gap is not true; empty if it is."""
    if gap.kind == "sequence":
        return _arrived_after_all(gap, facts)
    start_s, end_s = gap.from_s - SLACK_S, gap.to_s + SLACK_S
    if any(start_s <= moment_s <= end_s for moment_s in log.moments.get(gap.shard, [])):
        return ""
    if any(fault.kept(gap.shard, from_s=start_s, to_s=end_s) for fault in faults):
        return ""
    if any(item.explained_by(gap) for item in expected):
        return ""
    return "nothing is missing in its time, no connection ended in it, and no fault explains it"


def _arrived_after_all(gap: GapWindow, facts: StoredFacts) -> str:
    first, last = gap.first_seq or 0, gap.last_seq or 0
    if last < first or first < 1:
        return f"{first}..{last} is not a range"
    for start, end in facts.arrived.get((gap.shard, gap.epoch), ()):
        if start <= last and first < end:
            return f"numbers {max(start, first)}..{min(end - 1, last)} of it arrived"
    return ""
