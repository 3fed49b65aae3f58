"""From frames to numbered records: every part of a frame becomes a record or a reject."""

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime

import pytest

from ray_pipeline.feeds.feed_registry import feed_named
from ray_pipeline.feeds.records import Reject, Ticker, Trade
from ray_pipeline.stream.ingest import Intake, NoticeWriter, Origin

NOW = datetime(2026, 9, 23, 12, tzinfo=UTC)
UNENCODABLE = "BOOM"
NOW_MS = int(NOW.timestamp() * 1000)


@dataclass
class FakeOutbox:
    """Keeps what it was given."""

    epoch: int = 7
    records: list[object] = field(default_factory=list)

    def next_seq(self) -> int:
        return len(self.records) + 1

    def put(self, key: str, record: object, *, received_at: datetime) -> None:
        if key == UNENCODABLE:
            raise ValueError("the encoder fails")
        self.records.append(record)


def intake(feed: str) -> tuple[Intake, FakeOutbox]:
    outbox = FakeOutbox()
    notices = NoticeWriter(outbox, Origin(3, f"{feed}-03"))
    made = Intake(notices, feed_named(feed), future_tolerance_ms=1_000)
    return made, outbox


def trade(symbol: str, *, ahead_ms: int = 0, price: object = 1.5) -> dict[str, object]:
    return {"s": symbol, "p": price, "v": 1, "t": NOW_MS + ahead_ms, "c": ["1"]}


def frame(*data: object) -> bytes:
    return json.dumps({"type": "trade", "data": data}).encode()


def ticker(market: str, stamp_ms: int, **changes: object) -> bytes:
    fields = {"type": "ticker", "code": market, "timestamp": stamp_ms, "trade_price": 1}
    return json.dumps({**fields, **changes}).encode()


def answer(*tickers: tuple[str, int]) -> list[object]:
    """The contents of a REST answer: the market and the time of the trade of each ticker."""
    rows = [
        {"market": market, "timestamp": NOW_MS, "trade_timestamp": trade_ms, "trade_price": 1}
        for market, trade_ms in tickers
    ]
    return list(feed_named("bithumb").protocol.poll.parse(json.dumps(rows).encode()))


def test_every_part_of_a_frame_takes_one_number():
    """A refused record must not leave a number unused: that would be reported as a loss."""
    made, outbox = intake("sp500")

    taken = made.take(
        frame(
            trade("AAPL"), trade("MSFT", ahead_ms=5_000), trade("NVDA", price="x"), trade("TSLA")
        ),
        NOW,
    )

    assert [record.seq for record in outbox.records] == [1, 2, 3, 4]
    assert [type(record) for record in outbox.records] == [Trade, Reject, Reject, Trade]
    assert list(taken.symbols) == ["AAPL", "TSLA"]
    assert outbox.records[1].reason == "future_dated"


def test_a_record_carries_its_producer_and_category():
    made, outbox = intake("top_gainers")
    made.describe({"GME": "top_losers"})

    made.take(frame(trade("GME")), NOW)

    (record,) = outbox.records
    assert (record.pod_index, record.pod_name, record.epoch) == (3, "top_gainers-03", 7)
    assert (record.category, record.source) == ("top_losers", "finnhub_websocket")
    assert record.created_at == NOW


def test_a_complaint_is_reported_and_a_ping_is_nothing():
    made, outbox = intake("sp500")

    assert made.take(b'{"type":"error","msg":"too many"}', NOW).complaint == "too many"
    assert not made.take(b'{"type":"ping"}', NOW).symbols
    assert outbox.records == []


def test_a_rest_answer_adds_only_trades_that_were_not_put():
    """An answer repeats every ticker that has not changed."""
    made, outbox = intake("bithumb")
    made.take(ticker("KRW-ETH", NOW_MS, trade_timestamp=NOW_MS - 5), NOW)
    tickers = answer(("KRW-BTC", NOW_MS - 500), ("KRW-ETH", NOW_MS - 5), ("KRW-XRP", NOW_MS))

    assert [made.take_answer(tickers, NOW) for _ in range(2)] == [2, 0]
    assert [record.market for record in outbox.records] == ["KRW-ETH", "KRW-BTC", "KRW-XRP"]
    assert {type(record) for record in outbox.records} == {Ticker}


def test_a_repeated_snapshot_is_data_of_its_market_but_no_new_record():
    """It confirms the subscription and ends the silence."""
    made, outbox = intake("bithumb")
    frames = [
        ticker("KRW-BTC", NOW_MS, trade_timestamp=NOW_MS - 5, stream_type=kind)
        for kind in ("REALTIME", "SNAPSHOT")
    ]

    assert [list(made.take(frame, NOW).symbols) for frame in frames] == [["KRW-BTC"]] * 2
    assert len(outbox.records) == made.notices.counts.records == 1


def test_a_message_of_the_stream_goes_on_even_if_a_snapshot_has_shown_its_trade():
    """The consumer decides: only it knows how often the stream has delivered the trade."""
    made, outbox = intake("bithumb")
    for kind in ("SNAPSHOT", "REALTIME", "SNAPSHOT", "REALTIME"):
        made.take(ticker("KRW-BTC", NOW_MS, trade_timestamp=NOW_MS - 5, stream_type=kind), NOW)

    assert [record.stream_type for record in outbox.records] == ["SNAPSHOT", "REALTIME", "REALTIME"]


def test_the_dead_letter_of_a_ticker_is_its_whole_frame():
    """The record keeps only the fields of the table."""
    made, outbox = intake("bithumb")
    sent = ticker("KRW-BTC", NOW_MS + 60_000)

    made.take(sent, NOW)

    assert outbox.records[0].payload == sent.decode()


@pytest.mark.parametrize(
    "bad", [{"s": UNENCODABLE}, {"s": "\x00"}, {"p": "NaN"}, {"v": "Infinity"}, {"t": 10**30}]
)
def test_any_bad_trade_costs_only_itself_and_no_number(bad):
    """Also one that only the encoder refuses."""
    made, outbox = intake("sp500")

    taken = made.take(frame(trade("AAPL"), {**trade("MSFT"), **bad}, trade("TSLA")), NOW)

    assert list(taken.symbols) == ["AAPL", "TSLA"]
    assert [record.seq for record in outbox.records] == [1, 2, 3]
    assert [type(record) for record in outbox.records] == [Trade, Reject, Trade]


def test_a_frame_that_the_parser_fails_on_is_parked_with_the_error():
    """A bug must not cost the connection."""
    made, outbox = intake("sp500")

    def fail(_: bytes) -> list[object]:
        raise ZeroDivisionError("half \ud800")

    made._parse = fail
    assert not made.take(b"frame", NOW).symbols

    (reject,) = outbox.records
    assert (reject.reason, reject.payload) == ("fault", "frame")
    assert reject.detail == "ZeroDivisionError: half ?"
