"""
Upbit's tickers: one public WebSocket connection for all KRW markets.

    {"type": "ticker", "code": "KRW-BTC", "trade_price": 162000000.0,
     "signed_change_rate": -0.0012, "acc_trade_volume_24h": 1543.2,
     "trade_date": "20260923", "trade_time": "031833",     # UTC
     "trade_timestamp": 1790133513858,                     # ms since the epoch
     "timestamp": 1790133514044, "stream_type": "SNAPSHOT", ...}

A SNAPSHOT of each market answers a subscription; REALTIME frames follow. All timestamps are true
epochs. Upbit closes a connection after 120 seconds without a frame in either direction. The pings
of `storage.websocket` keep it open.
"""

from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal

import msgspec

from ray_pipeline.errors import FeedRefused
from ray_pipeline.feeds.codec import UNDECODABLE
from ray_pipeline.feeds.feed import Feed, RedisKeys
from ray_pipeline.feeds.layout import Layout
from ray_pipeline.feeds.protocol import AllSymbols, Arrival, VenueProtocol
from ray_pipeline.feeds.records import FORMAT_VERSION, TickerFields
from ray_pipeline.feeds.symbol_source import Fill, RestListing, Row, SymbolSource
from ray_pipeline.feeds.upbit_protocol import (
    TRADE_COLUMNS,
    FrameParser,
    check_ticker,
    copy_line,
    redis_value,
    subscribe,
)

SOURCE = "upbit"
CURRENCY = "KRW-"


class UpbitMessage(TickerFields, frozen=True):
    """A ticker as Upbit writes it."""

    code: str
    timestamp: int
    trade_price: Decimal


class UpbitTicker(TickerFields, frozen=True, tag=FORMAT_VERSION, tag_field="v"):
    """The ticker of one market."""

    market: str
    timestamp_ms: int  # event time
    epoch: int
    seq: int
    pod_index: int = 0
    source: str | None = None
    created_at: datetime | None = None


class _Market(msgspec.Struct, frozen=True):
    market: str
    korean_name: str
    english_name: str


_markets = msgspec.json.Decoder(list[_Market])

parse = FrameParser("Upbit", UpbitMessage)

COPIED = TickerFields.__struct_fields__
COLUMNS = (
    "market", "timestamp_ms", *COPIED, "source", "created_at", "pod_index", "epoch", "seq",
)  # fmt: skip
SHOWN = {
    "price": "trade_price",
    "change_rate": "signed_change_rate",
    "change_price": "signed_change_price",
    "volume": "trade_volume",
    "acc_trade_price_24h": "acc_trade_price_24h",
    "acc_trade_volume_24h": "acc_trade_volume_24h",
}


def ticker(raw: UpbitMessage, arrival: Arrival, seq: int) -> UpbitTicker:
    """
    Return the numbered ticker.

    Raises:
        BadRecord: If the market, a number or the time is unusable.
    """
    return UpbitTicker(
        market=check_ticker(raw, arrival, market=raw.code, timestamp_ms=raw.timestamp),
        timestamp_ms=raw.timestamp,
        epoch=arrival.epoch,
        seq=seq,
        pod_index=arrival.shard,
        source=SOURCE,
        created_at=arrival.received_at,
        **{name: getattr(raw, name) for name in COPIED},
    )


def markets(body: bytes) -> Iterator[Row]:
    """
    Yield code and names of the KRW markets in an answer of `/v1/market/all`.

    Raises:
        FeedRefused: If the answer is not a list of markets.
    """
    try:
        listed = _markets.decode(body)
    except UNDECODABLE as error:
        raise FeedRefused(f"Upbit's list of markets is invalid: {error}") from error
    for market in listed:
        if market.market.startswith(CURRENCY):
            yield market.market, market.korean_name, market.english_name


FEED = Feed(
    name="upbit",
    title="Tickers of Upbit's KRW markets",
    rank=5,
    topic="upbit-ticker",
    table="upbit_ticker",
    latest_table="upbit_ticker_latest",
    layout=Layout(
        kind=UpbitTicker,
        columns=COLUMNS,
        line=copy_line(UpbitTicker, COLUMNS, source=SOURCE),
        value=redis_value(SOURCE, "timestamp_ms", SHOWN),
        symbol_column="market",
        price_column="trade_price",
        volume_column="trade_volume",
        trade_columns=(*TRADE_COLUMNS, "acc_trade_volume_24h"),
    ),
    redis=RedisKeys("crypto:upbit", ttl_s=86_400),
    protocol=VenueProtocol(
        venue="upbit",
        title="Upbit",
        ws_url="wss://api.upbit.com/websocket/v1",
        rest_url="https://api.upbit.com",
        subscription=AllSymbols(subscribe),
        parse=parse,
        record=ticker,
        one_record_per_frame=True,
    ),
    symbols=SymbolSource(
        # A market that Upbit delists stays in the table, so only the newest list counts.
        query="""
            SELECT market_code FROM market_code_upbit
            WHERE listed_at = (SELECT max(listed_at) FROM market_code_upbit) ORDER BY market_code
        """,
        poll_s=3_600.0,
        refresh=True,
        if_empty=Fill(
            table="market_code_upbit",
            insert="""
                INSERT INTO market_code_upbit (market_code, korean_name, english_name, listed_at)
                VALUES (%s, %s, %s, now())
                ON CONFLICT (market_code) DO UPDATE SET (korean_name, english_name, listed_at) =
                    (excluded.korean_name, excluded.english_name, excluded.listed_at)
            """,
            rows=RestListing("/v1/market/all", {}, markets),
            source="Upbit",
        ),
    ),
    simulator="upbit",
)
