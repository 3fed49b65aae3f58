"""Trades of ETFs: rows, latest values, and the key that the feed receives."""

import json
from datetime import UTC, datetime
from decimal import Decimal

import msgspec
import pytest

from ray_pipeline.errors import BadRecord
from ray_pipeline.feeds.codec import Decoder, encode
from ray_pipeline.feeds.etf import FEED, EtfTrade
from ray_pipeline.feeds.feed_registry import feed_named
from ray_pipeline.feeds.protocol import Arrival, RefusedPart
from ray_pipeline.observe.status import Assignments, ShardRow, uncovered
from ray_pipeline.settings import load
from ray_pipeline.stream.feed_shards import key_of, key_plan, no_key

NOW = datetime(2026, 9, 23, 15, tzinfo=UTC)
NOW_MS = int(NOW.timestamp() * 1000)
ARRIVAL = Arrival(1, "etf-01", 7, NOW, NOW_MS, NOW_MS + 1_000)
FRAME = json.dumps(
    {
        "data": [{"c": ["1", "24"], "p": 661.25, "s": "SPY", "t": NOW_MS, "v": 3}],
        "type": "trade",
    }
).encode()


def trade() -> EtfTrade:
    (event,) = FEED.protocol.parse(FRAME)
    record = FEED.protocol.record(event, ARRIVAL, 12)
    assert isinstance(record, EtfTrade)
    return record


def test_a_frame_becomes_a_row_of_the_clients_table():
    """The trade conditions are one text there."""
    row = dict(zip(FEED.layout.columns, FEED.layout.line(trade(), "now").split("\t"), strict=True))

    assert row["symbol"] == "SPY"
    assert (row["price"], row["volume"]) == ("661.25", "3")
    assert row["trade_conditions"] == "1,24"
    assert (row["pod_index"], row["epoch"], row["seq"]) == ("1", "7", "12\n")


def test_long_conditions_fit_into_the_column():
    (event,) = FEED.protocol.parse(FRAME)
    event = msgspec.structs.replace(event, c=["condition"] * 20)

    assert len(FEED.protocol.record(event, ARRIVAL, 1).trade_conditions) == 50


def test_the_latest_value_has_what_clients_read():
    value = json.loads(FEED.layout.value(trade()))

    assert {
        "symbol": "SPY",
        "price": 661.25,
        "volume": 3,
        "timestamp": NOW_MS,
    }.items() <= value.items()
    assert (FEED.redis.hash, FEED.redis.channel) == ("etf_realtime_data", "etf_updates")


def test_a_record_survives_kafka_and_a_rebuild():
    """The rebuild reads records from rows."""
    record = trade()
    row = {name: getattr(record, name) for name in FEED.layout.columns}

    assert Decoder(EtfTrade).decode(encode(record)) == record
    assert msgspec.convert(row, EtfTrade, strict=False).price == Decimal("661.25")


def test_a_frame_that_is_not_json_is_a_refusal():
    (refusal,) = FEED.protocol.parse(b'{"data":[')

    assert isinstance(refusal, RefusedPart)
    assert refusal.reason == "not_json"


def test_a_trade_of_the_future_is_refused():
    (event,) = FEED.protocol.parse(FRAME)

    with pytest.raises(BadRecord, match="ahead"):
        FEED.protocol.record(msgspec.structs.replace(event, t=NOW_MS + 5_000), ARRIVAL, 1)


def settings(keys: int):
    return load(
        feeds={"sp500": {"shards": 2}},
        api_keys={"finnhub": [f"key {number}" for number in range(1, keys + 1)]},
    )


def test_its_key_is_the_one_after_the_top_gainers():
    assert key_of(settings(4), feed_named("top_gainers"), 0) == "key 3"
    assert key_of(settings(4), FEED, 1) == "key 4"


def test_without_a_key_the_status_says_that_it_is_not_covered_and_why():
    """The producer waits without a key; its cause explains the symbols that have no connection."""
    assert key_of(settings(3), FEED, 1) is None
    shard = ShardRow(
        feed="etf", shard=1, epoch=1, holder="a", state="no_key", cause=no_key(settings(3), FEED),
        connected=False, stopped=False, wanted=0, confirmed=0, received=0, published=0, spooled=0,
        reconnects=0, last_data_age_s=None, heartbeat_age_s=0.5,
    )  # fmt: skip

    (row,) = uncovered(
        Assignments("etf", {}, ("QQQ", "SPY")), [shard], plan=key_plan(settings(3), "finnhub")
    )

    assert row.symbols == ("QQQ", "SPY")
    assert row.why == (
        "no key: PIPELINE_API_KEYS has 3 for finnhub, one a connection, "
        "which sp500 and top_gainers may use first; add another to collect these symbols"
    )


@pytest.mark.parametrize("feed", [FEED, feed_named("sp500")])
def test_symbols_that_a_job_adds_are_collected_within_a_minute(feed):
    """The first run of the job follows the start of the producers."""
    assert feed.symbols.poll_s <= 60
