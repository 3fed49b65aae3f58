"""From frames to numbered records: every part of a frame becomes a record or a reject."""

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from ray_pipeline.feeds.feed_registry import feed_named
from ray_pipeline.feeds.records import Reject, Ticker, Trade
from ray_pipeline.stream.ingest import Intake, NoticeWriter, Origin

NOW = datetime(2026, 9, 23, 12, tzinfo=UTC)
NOW_MS = int(NOW.timestamp() * 1000)


@dataclass
class FakeOutbox:
    """Keeps what it was given."""

    epoch: int = 7
    records: list[object] = field(default_factory=list)

    def next_seq(self) -> int:
        return len(self.records) + 1

    def put(self, key: str, record: object, *, received_at: datetime) -> None:
        self.records.append(record)


def intake(feed: str, **newest_ms: int) -> tuple[Intake, FakeOutbox]:
    outbox = FakeOutbox()
    notices = NoticeWriter(outbox, Origin(3, f"{feed}-03"))
    made = Intake(notices, feed_named(feed), future_tolerance_ms=1_000, newest_ms=newest_ms)
    return made, outbox


def trade(symbol: str, *, ahead_ms: int = 0, price: object = 1.5) -> dict[str, object]:
    return {"s": symbol, "p": price, "v": 1, "t": NOW_MS + ahead_ms, "c": ["1"]}


def frame(*data: object) -> bytes:
    return json.dumps({"type": "trade", "data": data}).encode()


def ticker(market: str, stamp_ms: int) -> bytes:
    return json.dumps(
        {"type": "ticker", "code": market, "timestamp": stamp_ms, "trade_price": 1}
    ).encode()


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


def test_a_rest_answer_adds_only_what_is_newer():
    """An answer repeats every value that has not changed."""
    made, outbox = intake("bithumb", **{"KRW-BTC": NOW_MS - 500})
    made.take(ticker("KRW-ETH", NOW_MS), NOW)
    answer = [
        raw
        for market, stamp_ms in (
            ("KRW-BTC", NOW_MS - 500), ("KRW-ETH", NOW_MS - 1), ("KRW-XRP", NOW_MS),
        )
        for raw in feed_named("bithumb").protocol.parse(ticker(market, stamp_ms))
    ]  # fmt: skip

    assert made.take_answer(answer, NOW + timedelta(seconds=1)) == 1
    assert [record.market for record in outbox.records] == ["KRW-ETH", "KRW-XRP"]
    assert {type(record) for record in outbox.records} == {Ticker}


def test_the_next_epoch_does_not_repeat_what_this_one_put():
    """A producer that lost its lease requests a snapshot again."""
    newest_ms: dict[str, int] = {}
    feed = feed_named("bithumb")
    intakes = [
        Intake(
            NoticeWriter(FakeOutbox(epoch), Origin(0, "bithumb-00")),
            feed,
            future_tolerance_ms=1_000,
            newest_ms=newest_ms,
        )
        for epoch in (7, 8)
    ]
    answer = feed.protocol.parse(ticker("KRW-BTC", NOW_MS))

    assert [made.take_answer(answer, NOW) for made in intakes] == [1, 0]


def test_the_dead_letter_of_a_ticker_is_its_whole_frame():
    """The record keeps only the fields of the table."""
    made, outbox = intake("bithumb")
    sent = ticker("KRW-BTC", NOW_MS + 60_000)

    made.take(sent, NOW)

    assert outbox.records[0].payload == sent.decode()
