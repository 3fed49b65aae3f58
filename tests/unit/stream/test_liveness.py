"""Liveness: judged by data, by what is usual, and only while the market is open."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from ray_pipeline.stream.liveness import ALWAYS_OPEN, TOLERANCE, Liveness, MarketHours

LIVENESS_S = 60.0
DAY_S = 86_400.0
OPENS_S, CLOSES_S = 52_200.0, 75_600.0


def watching(*symbols: str, hours: MarketHours = ALWAYS_OPEN) -> Liveness:
    liveness = Liveness(liveness_s=LIVENESS_S, hours=hours)
    liveness.watch(symbols, now_s=0.0)
    liveness.connected(now_s=0.0)
    return liveness


def names(liveness: Liveness, now_s: float, wall_s: float = 0.0) -> list[str]:
    return [stall.symbol for stall in liveness.stalls(now_s=now_s, wall_s=wall_s)]


@given(
    intervals_s=st.lists(st.floats(0.0, 300.0), min_size=1, max_size=50),
    silence_s=st.floats(0.0, 100_000.0),
)
def test_a_silence_shorter_than_the_least_is_never_a_stall(intervals_s, silence_s):
    """And one longer than any tolerance always is."""
    liveness = watching("A")
    now_s = 0.0
    for interval_s in intervals_s:
        now_s += interval_s
        liveness.heard(["A"], now_s=now_s)

    stalled = names(liveness, now_s + silence_s)

    if silence_s < LIVENESS_S:
        assert not stalled
    if silence_s > max(LIVENESS_S, TOLERANCE * max(intervals_s)) + 1:
        assert stalled == ["A"]


def test_a_rare_symbol_may_be_silent_for_longer():
    """What trades every half minute is not missed after a minute."""
    liveness = watching("RARE", "BUSY")
    for second in range(0, 3_000, 30):
        liveness.heard(["RARE"], now_s=second)
    for second in range(2_900, 2_970):
        liveness.heard(["BUSY"], now_s=second)

    assert names(liveness, 3_040.0) == ["BUSY"]
    assert names(liveness, 2_970.0 + TOLERANCE * 30.0 + 1) != []


def test_a_symbol_that_never_had_data_is_not_known():
    liveness = watching("A", "B")
    liveness.heard(["A"], now_s=1.0)

    stalls = liveness.stalls(now_s=100.0, wall_s=0.0)

    assert {stall.symbol: stall.has_had_data for stall in stalls} == {"A": True, "B": False}
    assert not any(stall.repeated for stall in stalls)


def test_a_remedy_that_does_not_help_is_tried_ever_more_rarely():
    """But never given up."""
    liveness = watching("A")
    treated_s = [float(s) for s in range(0, 20_000, 5) if names(liveness, float(s))]
    pauses_s = [after - before for before, after in itertools.pairwise(treated_s)]

    assert treated_s[0] == LIVENESS_S
    assert pauses_s == sorted(pauses_s)
    assert pauses_s[0] == 2 * LIVENESS_S
    assert names(liveness, 20_000.0 + 64 * LIVENESS_S) == ["A"]


def test_data_makes_it_patient_no_longer_than_usual():
    liveness = watching("A")
    names(liveness, 60.0)
    liveness.heard(["A"], now_s=61.0)
    liveness.heard(["A"], now_s=62.0)

    assert names(liveness, 123.0) == ["A"]


def test_the_whole_feed_stalls_when_nothing_of_any_symbol_comes():
    liveness = watching("A", "B")
    liveness.heard(["A"], now_s=10.0)

    assert liveness.feed_silence_s(now_s=69.0, wall_s=0.0) is None
    assert liveness.feed_silence_s(now_s=71.0, wall_s=0.0) == 61.0


def test_data_of_an_unsubscribed_symbol_keeps_the_feed_alive():
    liveness = watching("A")
    liveness.heard(["STRANGER"], now_s=50.0)

    assert liveness.feed_silence_s(now_s=100.0, wall_s=0.0) is None
    assert names(liveness, 100.0) == ["A"]


def test_nothing_is_suspicious_without_symbols():
    liveness = watching()

    assert liveness.feed_silence_s(now_s=1_000.0, wall_s=0.0) is None


def test_silence_counts_from_the_opening():
    """The night before is nobody's fault."""
    liveness = watching("A", hours=MarketHours(((OPENS_S, CLOSES_S),)))

    assert names(liveness, 50_000.0, wall_s=50_000.0) == []
    assert names(liveness, OPENS_S + 59, wall_s=OPENS_S + 59) == []
    assert names(liveness, OPENS_S + 61, wall_s=OPENS_S + 61) == ["A"]


def test_a_night_is_not_an_interval():
    """Otherwise the first trade of the morning would teach it to wait for hours."""
    sessions = tuple((day * DAY_S + OPENS_S, day * DAY_S + CLOSES_S) for day in range(2))
    liveness = watching("A", hours=MarketHours(sessions))
    for second in range(int(OPENS_S), int(CLOSES_S), 600):
        names(liveness, second, wall_s=second)
        for moment in range(second, second + 600):
            liveness.heard(["A"], now_s=moment)
    names(liveness, CLOSES_S + 1, wall_s=CLOSES_S + 1)
    morning_s = DAY_S + OPENS_S
    liveness.heard(["A"], now_s=morning_s)

    assert names(liveness, morning_s + 61, wall_s=morning_s + 61) == ["A"]


@given(now_s=st.floats(0.0, 3 * DAY_S))
def test_hours_are_open_from_the_opening_to_just_before_the_closing(now_s):
    sessions = tuple((day * DAY_S + OPENS_S, day * DAY_S + CLOSES_S) for day in range(2))

    open_for_s = MarketHours(sessions).open_for_s(now_s)

    day = int(now_s // DAY_S)
    expected = day < 2 and OPENS_S <= now_s - day * DAY_S < CLOSES_S
    assert (open_for_s is not None) == expected


def test_stayers_keep_what_was_learned_when_the_symbols_change():
    liveness = watching("A", "B")
    for second in range(0, 3_000, 30):
        liveness.heard(["A"], now_s=second)
    liveness.watch(["A", "C"], now_s=2_970.0)

    assert names(liveness, 3_040.0) == ["C"]
