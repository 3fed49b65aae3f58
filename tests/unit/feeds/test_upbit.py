"""Upbit's tickers: frames, rows, latest values, and the list of markets."""

import json
from datetime import UTC, datetime
from decimal import Decimal

import msgspec
import pytest

from ray_pipeline.errors import BadRecord, FeedRefused
from ray_pipeline.feeds.codec import Decoder, encode
from ray_pipeline.feeds.protocol import Arrival, RefusedPart
from ray_pipeline.feeds.upbit import (
    FEED,
    UpbitMessage,
    UpbitTicker,
    markets,
    parse,
    subscribe,
    ticker,
)
from ray_pipeline.storage import websocket

NOW = datetime(2026, 9, 23, 3, 18, 34, tzinfo=UTC)
NOW_MS = int(NOW.timestamp() * 1000)
ARRIVAL = Arrival(0, "upbit-00", 7, NOW, NOW_MS, NOW_MS + 1_000)
IDLE_TIMEOUT_S = 120.0  # after which Upbit closes a connection without frames
TICKER = {
    "type": "ticker", "code": "KRW-BTC", "opening_price": 162194000, "high_price": 162500000.5,
    "low_price": 161800000, "trade_price": 162000000.0, "prev_closing_price": 162194000,
    "change": "FALL", "change_price": 194000, "signed_change_price": -194000,
    "change_rate": 0.00119609, "signed_change_rate": -0.00119609, "trade_volume": 0.00061727,
    "acc_trade_volume": 312.5, "acc_trade_volume_24h": 1543.23918421,
    "acc_trade_price": 50622000000.1, "acc_trade_price_24h": 250012345678.9,
    "trade_date": "20260923", "trade_time": "031833", "trade_timestamp": NOW_MS - 142,
    "ask_bid": "ASK", "market_state": "ACTIVE", "is_trading_suspended": False,
    "delisting_date": None, "market_warning": "NONE", "timestamp": NOW_MS - 100,
    "stream_type": "SNAPSHOT",
}  # fmt: skip


def frame(**changes: object) -> bytes:
    return json.dumps({**TICKER, **changes}).encode()


def record(**changes: object) -> UpbitTicker:
    (raw,) = parse(frame(**changes))
    assert isinstance(raw, UpbitMessage)
    return ticker(raw, ARRIVAL, 12)


def test_the_subscription_holds_every_market():
    assert json.loads(subscribe("t", ["KRW-BTC", "KRW-ETH"])) == [
        {"ticket": "t"},
        {"type": "ticker", "codes": ["KRW-BTC", "KRW-ETH"]},
        {"format": "DEFAULT"},
    ]


@pytest.mark.parametrize("stream_type", ["SNAPSHOT", "REALTIME"])
def test_a_ticker_becomes_a_row(stream_type):
    """The times are true epochs, so they are stored as they come."""
    line = FEED.layout.line(record(stream_type=stream_type), "now")
    row = dict(zip(FEED.layout.columns, line.rstrip("\n").split("\t"), strict=True))

    assert (row["market"], row["stream_type"]) == ("KRW-BTC", stream_type)
    assert Decimal(row["trade_price"]) == 162_000_000
    assert Decimal(row["signed_change_rate"]) == Decimal("-0.00119609")
    assert Decimal(row["acc_trade_volume_24h"]) == Decimal("1543.23918421")
    assert int(row["trade_timestamp"]) == NOW_MS - 142
    assert int(row["timestamp_ms"]) == NOW_MS - 100
    assert (row["pod_index"], row["epoch"], row["seq"]) == ("0", "7", "12")


def test_the_latest_value_is_under_its_own_prefix():
    """The key `latest:crypto:KRW-BTC` belongs to another exchange."""
    value = json.loads(FEED.layout.value(record()))

    assert (value["symbol"], value["price"]) == ("KRW-BTC", 162_000_000)
    assert value["event_time_ms"] == NOW_MS - 100
    assert f"latest:{FEED.redis.prefix}:KRW-BTC" == "latest:crypto:upbit:KRW-BTC"


def test_a_record_survives_kafka_and_a_rebuild():
    """The rebuild reads records from rows."""
    row = {name: getattr(record(), name) for name in FEED.layout.columns}

    assert Decoder(UpbitTicker).decode(encode(record())) == record()
    assert msgspec.convert(row, UpbitTicker, strict=False) == record()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (frame()[:-20], "not_json"),
        (frame(trade_price="high"), "wrong_shape"),
        (frame(trade_price=None), "wrong_shape"),
        (b'{"type":"surprise"}', "unknown_type"),
    ],
)
def test_a_bad_frame_is_a_refusal_with_its_reason(text, reason):
    (refusal,) = parse(text)

    assert isinstance(refusal, RefusedPart)
    assert (refusal.reason, refusal.payload) == (reason, text)


def test_an_error_ends_the_connection_and_a_status_says_nothing():
    assert parse(b'{"status":"UP"}') == ()
    with pytest.raises(FeedRefused, match="NO_CODES"):
        parse(b'{"error":{"name":"NO_CODES","message":"no codes"}}')


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"code": ""}, "bad_symbol"),
        ({"timestamp": NOW_MS + 5_000}, "future_dated"),
    ],
)
def test_an_unusable_ticker_is_refused(changes, reason):
    with pytest.raises(BadRecord) as refused:
        record(**changes)

    assert refused.value.reason == reason


def test_only_krw_markets_are_listed():
    listed = [
        {"market": code, "korean_name": "k", "english_name": "e"}
        for code in ("KRW-BTC", "BTC-ETH", "USDT-BTC", "KRW-ETH")
    ]

    assert [code for code, *_ in markets(json.dumps(listed).encode())] == ["KRW-BTC", "KRW-ETH"]
    with pytest.raises(FeedRefused, match="list of markets"):
        list(markets(b'{"error": {}}'))


def test_the_pings_keep_a_quiet_connection_open():
    """Upbit counts frames in both directions, and a ping is a frame."""
    assert websocket.PING_EVERY_S + websocket.PONG_TIMEOUT_S < IDLE_TIMEOUT_S
