"""The verdict of a chaos run: each way in which a pipeline could lie is found."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from tests.chaos.sent_log import SentLog, read_log
from tests.chaos.verify import (
    FaultWindow,
    GapWindow,
    Receipt,
    StoredFacts,
    Verdict,
    judge,
    missing_trades,
)

LINES = """\
O 100.000 1 2
T 101.000 1 2 A01 10000.01 5 101000
T 102.000 1 2 A01 10000.02 6 102000
T 102.000 1 2 A01 10000.02 6 102000
T 103.000 1 2 B01 10000.03 7 103000
C 103.500 1 2
O 106.000 2 2
T 110.000 2 2 A01 10000.04 8 110000
"""
FIRST, TWIN, OTHER, LAST = (
    "A01 10000.01 5 101000",
    "A01 10000.02 6 102000",
    "B01 10000.03 7 103000",
    "A01 10000.04 8 110000",
)
GAP = GapWindow(
    id=1,
    shard=2,
    epoch=1,
    kind="disconnected",
    from_s=102.9,
    to_s=106.1,
    symbols=None,
    first_seq=None,
    last_seq=None,
    text="1",
)


@pytest.fixture
def log(tmp_path: Path) -> SentLog:
    """Four trades of one shard, one of them twice, with a reconnect before the last."""
    path = tmp_path / "sent.log"
    path.write_text(LINES)
    return read_log(path)


def stored(*keys: str, gaps: tuple[GapWindow, ...] = (), parked: tuple[str, ...] = ()):
    """Return facts with these rows."""
    return StoredFacts(Counter(keys), Counter(parked), gaps, {})


def verdict(
    log: SentLog,
    facts: StoredFacts,
    *,
    receipts: dict[str, Receipt] | None = None,
    faults: tuple[FaultWindow, ...] = (),
) -> Verdict:
    """Return the verdict on these facts."""
    return judge(log, facts, missing_trades(log, facts), receipts or {}, faults)


def test_everything_stored_once_is_clean(log):
    """Twins are stored twice."""
    result = verdict(log, stored(FIRST, TWIN, TWIN, OTHER, LAST))

    assert (result.sent, result.stored, result.violations) == (5, 5, [])


def test_a_missing_twin_is_a_loss(log):
    """A comparison of sets would not see it."""
    result = verdict(log, stored(FIRST, TWIN, OTHER, LAST))

    assert result.unexplained == 1
    assert "missing without a gap" in result.violations[0]


def test_a_missing_trade_in_a_gap_of_its_shard_is_explained(log):
    """The gap covers the time at which it would have been received."""
    result = verdict(log, stored(FIRST, TWIN, TWIN, LAST, gaps=(GAP,)))

    assert (result.explained, result.violations) == (1, [])


@pytest.mark.parametrize(
    "gap",
    [
        replace(GAP, shard=1),
        replace(GAP, from_s=104.0),
        replace(GAP, to_s=102.0, from_s=101.9),
        replace(GAP, symbols=frozenset({"A01"})),
    ],
)
def test_a_gap_elsewhere_explains_nothing(log, gap):
    """Another shard, another time, another symbol."""
    assert verdict(log, stored(FIRST, TWIN, TWIN, LAST, gaps=(gap,))).unexplained == 1


def test_the_time_on_the_way_is_that_of_the_predecessor(log):
    """The network delayed everything by 1.5 s, so a gap from 104 on covers what was sent at 103."""
    gap = replace(GAP, from_s=104.2)
    facts = stored(FIRST, TWIN, TWIN, LAST, gaps=(gap,))

    assert verdict(log, facts).unexplained == 1
    assert verdict(log, facts, receipts={TWIN: Receipt(103.5, 1, 3)}).explained == 1


def test_a_missing_number_explains_the_trade_that_had_it(log):
    """The twins have the numbers 2 and 3, so the trade after them had 4."""
    rows = Counter([FIRST, TWIN, TWIN, LAST])
    gap = replace(GAP, kind="sequence", from_s=200.0, to_s=201.0, first_seq=4, last_seq=4)
    receipts = {TWIN: Receipt(102.0, 1, 3)}

    def missing(gap: GapWindow) -> Verdict:
        facts = StoredFacts(rows, Counter(), (gap,), {(2, 1): [(1, 4), (5, 6)]})
        return verdict(log, facts, receipts=receipts)

    assert missing(gap).explained == 1
    assert missing(replace(gap, first_seq=5, last_seq=5)).unexplained == 1
    assert missing(replace(gap, epoch=2)).unexplained == 1


def test_a_trade_that_is_stored_too_often_is_a_duplicate(log):
    """Three rows of two twins."""
    result = verdict(log, stored(FIRST, TWIN, TWIN, TWIN, OTHER, LAST))

    assert result.duplicates == 1
    assert "more often than sent" in result.violations[0]


def test_a_trade_that_was_never_sent_is_found(log):
    """A row of nowhere."""
    result = verdict(log, stored(FIRST, TWIN, TWIN, OTHER, LAST, "Z99 1 1 1"))

    assert (result.unknown, len(result.violations)) == (1, 1)


def test_a_trade_of_a_write_that_failed_may_be_stored(log):
    """The socket may have taken it."""
    log.perhaps["A01 10000.05 9 111000"] = 1

    assert not verdict(log, stored(FIRST, TWIN, TWIN, OTHER, LAST)).violations
    arrived = stored(FIRST, TWIN, TWIN, OTHER, LAST, "A01 10000.05 9 111000")
    assert not verdict(log, arrived).violations


def test_a_parked_trade_is_not_missing(log):
    """Its bytes are in a dead letter."""
    result = verdict(log, stored(FIRST, TWIN, TWIN, LAST, parked=(OTHER,)))

    assert (result.parked, result.violations) == (1, [])


def test_a_gap_without_any_reason_is_not_true(log):
    """Nothing is missing, no connection ended, no fault."""
    gap = replace(GAP, from_s=108.0, to_s=109.0)
    facts = stored(FIRST, TWIN, TWIN, OTHER, LAST, gaps=(gap,))

    assert verdict(log, facts).false_gaps == 1
    assert not verdict(log, facts, faults=(FaultWindow(107, 108.5, frozenset({2})),)).violations
    assert verdict(log, facts, faults=(FaultWindow(107, 108.5, frozenset({1})),)).false_gaps == 1


def test_a_gap_of_numbers_that_arrived_is_not_true(log):
    """Numbers 5 to 7 are said to be missing, and 6 is there."""
    gap = replace(GAP, kind="sequence", first_seq=5, last_seq=7)
    rows = Counter([FIRST, TWIN, TWIN, OTHER, LAST])

    absent = StoredFacts(rows, Counter(), (gap,), {(2, 1): [(1, 5), (8, 20)]})
    present = StoredFacts(rows, Counter(), (gap,), {(2, 1): [(1, 5), (6, 20)]})
    assert not verdict(log, absent).violations
    assert "6..7 of it arrived" in verdict(log, present).violations[0]
