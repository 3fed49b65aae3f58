"""Bars are exact, whatever the order and the batches in which trades come."""

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from ray_pipeline.stream.bars import Bar, roll_up

prices = st.decimals("0.0001", "99999", places=4)
trades = st.lists(
    st.tuples(prices, st.decimals("0", "1000", places=8), st.integers(0, 9_999_999)),
    min_size=1,
    max_size=60,
)


def bars_of(some):
    bars = {}
    for price, volume, event_ms in some:
        key = ("S", event_ms // 1000)
        if key in bars:
            bars[key].add(price, volume, event_ms)
        else:
            bars[key] = Bar(price, volume, event_ms)
    return bars


@given(trades)
def test_every_interval_holds_every_trade_once(some):
    """High, low, volume and count of each interval are those of the trades in it."""
    for interval_s, bars in roll_up(bars_of(some)):
        assert sum(bar.trades for bar in bars.values()) == len(some)
        for (_, start_s), bar in bars.items():
            inside = [t for t in some if start_s <= t[2] // 1000 < start_s + interval_s]
            assert bar.high == max(price for price, _, _ in inside)
            assert bar.low == min(price for price, _, _ in inside)
            assert bar.volume == sum((volume for _, volume, _ in inside), Decimal(0))


@given(trades)
def test_open_and_close_go_by_event_time(some):
    """The first of the earliest opens, the last of the latest closes."""
    for interval_s, bars in roll_up(bars_of(some)):
        for (_, start_s), bar in bars.items():
            inside = [t for t in some if start_s <= t[2] // 1000 < start_s + interval_s]
            first = min(event_ms for _, _, event_ms in inside)
            last = max(event_ms for _, _, event_ms in inside)
            assert bar.open == next(price for price, _, event_ms in inside if event_ms == first)
            assert bar.close == [price for price, _, event_ms in inside if event_ms == last][-1]


def test_rolling_up_leaves_the_seconds_as_they_are():
    """The finer bars are written too, after the coarser ones were made of them."""
    seconds = bars_of([(Decimal(1), Decimal(1), 1000), (Decimal(2), Decimal(1), 2000)])

    list(roll_up(seconds))

    assert [bar.trades for bar in seconds.values()] == [1, 1]
