"""What the venues of a chaos run log: each trade once for each time that it must be stored."""

import json
from pathlib import Path

import pytest

from ray_pipeline.simulators.options import Options
from ray_pipeline.simulators.recording import Frame
from tests.chaos.venue import LEAST_PRICE, LoggedBithumb, LoggedFinnhub, LoggedUpbit, LoggedVenue


def lines(venue: LoggedVenue, frame: Frame) -> list[str]:
    return list(venue.trades_in(frame, written=True))


@pytest.mark.parametrize("kind", [LoggedBithumb, LoggedUpbit])
def test_a_snapshot_is_a_trade_only_if_nothing_has_shown_it(kind, tmp_path: Path):
    """A pipeline stores the trade once, however often it is shown."""
    venue = kind(Options(), directory=tmp_path)
    first = venue._frame("KRW-BTC", "SNAPSHOT")
    again = venue._frame("KRW-BTC", "SNAPSHOT")
    (ticker, *_) = venue.generate(["KRW-BTC"], 1)

    assert len(lines(venue, first)) == 1
    assert lines(venue, again) == []
    assert len(lines(venue, ticker)) == 1
    assert lines(venue, venue._frame("KRW-BTC", "SNAPSHOT")) == []


def test_every_market_of_the_won_can_be_subscribed(tmp_path: Path):
    """A job may add markets that the venue does not list."""
    venue = LoggedBithumb(Options(), directory=tmp_path)

    assert "KRW-NEW" in venue._markets
    assert "USDT-NEW" not in venue._markets
    assert "KRW-BTC" in list(venue._markets)


def test_a_ticker_that_is_sent_twice_is_two_trades(tmp_path: Path):
    """Two equal messages of the stream are two trades."""
    venue = LoggedBithumb(Options(), directory=tmp_path)
    frames = list(venue.generate(["KRW-BTC", "KRW-ETH"], 500))

    logged = [line for frame in frames for line in lines(venue, frame)]

    assert len(logged) == len(frames) > len(set(logged))


def test_a_snapshot_that_was_not_written_may_be_sent_later(tmp_path: Path):
    """The first one may have arrived in part."""
    venue = LoggedBithumb(Options(), directory=tmp_path)
    snapshot = venue._frame("KRW-BTC", "SNAPSHOT")

    assert len(list(venue.trades_in(snapshot, written=False))) == 1
    assert len(lines(venue, snapshot)) == 1


def test_no_symbol_of_a_connection_is_silent_because_of_another_connection(tmp_path: Path):
    """A symbol of two feeds would always have had its turn just before."""
    venue = LoggedFinnhub(Options(), directory=tmp_path)
    symbols = [f"S{number}" for number in range(50)]
    sent: set[str] = set()
    for _ in range(60):
        list(venue.generate(["S7"], 10))
        for frame in venue.generate(symbols, 1):
            sent |= frame.symbols

    assert sent == set(symbols)


def test_prices_are_serial_numbers(tmp_path: Path):
    """No two trades of a venue have the same price, so none stands for another."""
    finnhub = LoggedFinnhub(Options(), directory=tmp_path)
    frames = list(finnhub.generate(["A", "B"], 300))
    prices = [trade["p"] for frame in frames for trade in json.loads(frame.text)["data"]]

    assert len(prices) == 300
    assert all(price > LEAST_PRICE for price in prices)
    assert max(prices.count(price) for price in prices) <= 2
