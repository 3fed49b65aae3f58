"""Generated prices are reproducible by their seed, and come at the configured rate."""

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from ray_pipeline.simulators.prices import Pace, Quote, Walk, chunks

SYMBOLS = st.lists(st.sampled_from(["AAPL", "MSFT", "NVDA"]), min_size=1, max_size=60)


def walked(seed: int, symbols: list[str]) -> list[Quote]:
    walk = Walk(seed)
    return [walk.next(symbol) for symbol in symbols]


@given(seed=st.integers(), symbols=SYMBOLS)
def test_the_same_seed_gives_the_same_trades(seed, symbols):
    assert walked(seed, symbols) == walked(seed, symbols)


def test_another_seed_gives_other_trades():
    assert walked(1, ["AAPL"] * 10) != walked(2, ["AAPL"] * 10)


@given(seed=st.integers(0, 100), symbols=SYMBOLS)
def test_symbols_do_not_influence_one_another(seed, symbols):
    """Otherwise the order of subscriptions would change the prices in a test."""
    alone = walked(seed, [symbol for symbol in symbols if symbol == "AAPL"])

    assert [quote for quote in walked(seed, symbols) if quote.symbol == "AAPL"] == alone


@given(seed=st.integers())
def test_prices_are_positive_and_have_two_to_four_decimals(seed):
    quotes = walked(seed, ["AAPL"] * 200)

    assert min(quote.price for quote in quotes) > 0
    assert {quote.price.as_tuple().exponent for quote in quotes} <= {-2, -3, -4}
    assert all(quote.size >= 1 and quote.conditions for quote in quotes)


@given(rate=st.integers(0, 5_000), steps_ms=st.lists(st.integers(0, 900), max_size=40))
def test_the_rate_is_kept_with_uneven_calls(rate, steps_ms):
    """A fraction of a record is carried over to the next call."""
    pace, now_s, count = Pace(rate, now_s=100.0), 100.0, 0
    for step_ms in steps_ms:
        now_s += step_ms / 1000
        count += pace.due(now_s=now_s)

    assert abs(count - rate * (now_s - 100.0)) < 1 + 1e-6


def test_a_pause_of_the_process_is_not_followed_by_a_burst():
    pace = Pace(100, now_s=0.0)

    assert pace.due(now_s=60.0) == 100
    assert pace.due(now_s=60.1) == 10


@given(count=st.integers(0, 2_000), seed=st.integers())
def test_frames_hold_every_trade_once(count, seed):
    sizes = list(chunks(count, Random(seed)))

    assert sum(sizes) == count
    assert all(1 <= size <= 50 for size in sizes)
