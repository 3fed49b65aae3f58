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

from collections.abc import Iterator, Sequence
from datetime import datetime
from decimal import Decimal

import msgspec

from ray_pipeline.dead_letter_reasons import Reason
from ray_pipeline.errors import BadRecord, FeedRefused
from ray_pipeline.feeds.codec import UNDECODABLE
from ray_pipeline.feeds.feed import Feed, RedisKeys
from ray_pipeline.feeds.layout import SCHEMA_VERSION, Layout, copy_number, copy_text, json_text
from ray_pipeline.feeds.protocol import AllSymbols, Arrival, RefusedPart, VenueProtocol
from ray_pipeline.feeds.records import FORMAT_VERSION
from ray_pipeline.feeds.symbol_source import Fill, RestListing, Row, SymbolSource

SOURCE = "upbit"
CURRENCY = "KRW-"
NO_ERROR = msgspec.Raw(b"null")


class UpbitMessage(msgspec.Struct, frozen=True, gc=False):
    """A ticker as Upbit writes it."""

    code: str
    timestamp: int
    trade_price: Decimal
    trade_timestamp: int | None = None
    opening_price: Decimal | None = None
    high_price: Decimal | None = None
    low_price: Decimal | None = None
    prev_closing_price: Decimal | None = None
    change: str | None = None
    signed_change_price: Decimal | None = None
    signed_change_rate: Decimal | None = None
    trade_volume: Decimal | None = None
    acc_trade_price_24h: Decimal | None = None
    acc_trade_volume_24h: Decimal | None = None
    stream_type: str | None = None


class UpbitTicker(
    msgspec.Struct, frozen=True, gc=False, omit_defaults=True, tag=FORMAT_VERSION, tag_field="v"
):
    """The ticker of one market."""

    market: str
    timestamp_ms: int  # event time
    trade_price: Decimal
    epoch: int
    seq: int
    pod_index: int = 0
    trade_timestamp: int | None = None
    opening_price: Decimal | None = None
    high_price: Decimal | None = None
    low_price: Decimal | None = None
    prev_closing_price: Decimal | None = None
    change: str | None = None
    signed_change_price: Decimal | None = None
    signed_change_rate: Decimal | None = None
    trade_volume: Decimal | None = None
    acc_trade_price_24h: Decimal | None = None
    acc_trade_volume_24h: Decimal | None = None
    stream_type: str | None = None
    source: str | None = None
    created_at: datetime | None = None


class _Kind(msgspec.Struct, frozen=True):
    type: str | None = None
    error: msgspec.Raw = NO_ERROR
    status: str | None = None


class _Market(msgspec.Struct, frozen=True):
    market: str
    korean_name: str
    english_name: str


_kinds = msgspec.json.Decoder(_Kind)
_tickers = msgspec.json.Decoder(UpbitMessage)
_markets = msgspec.json.Decoder(list[_Market])

NUMBERS = (
    "trade_price", "opening_price", "high_price", "low_price", "prev_closing_price",
    "signed_change_price", "signed_change_rate", "trade_volume", "acc_trade_price_24h",
    "acc_trade_volume_24h",
)  # fmt: skip
COLUMNS = (
    "market", "timestamp_ms", *NUMBERS, "trade_timestamp", "change", "stream_type", "source",
    "created_at", "pod_index", "epoch", "seq",
)  # fmt: skip


def subscribe(ticket: str, markets: Sequence[str]) -> str:
    """Return the frame that subscribes to all markets; a new frame replaces it."""
    return msgspec.json.encode(
        [{"ticket": ticket}, {"type": "ticker", "codes": list(markets)}, {"format": "DEFAULT"}]
    ).decode()


def parse(frame: bytes) -> Sequence[UpbitMessage | RefusedPart]:
    """
    Return the ticker in a frame; nothing for a status frame.

    Raises:
        FeedRefused: If the frame is an error: {"error": {"name": "NO_CODES", "message": "..."}}.
    """
    try:
        kind = _kinds.decode(frame)
        if kind.error != NO_ERROR:
            raise FeedRefused(f"Upbit refused the subscription: {bytes(kind.error).decode()}")
        if kind.type == "ticker":
            return (_tickers.decode(frame),)
    except UNDECODABLE as error:
        wrong_shape = isinstance(error, msgspec.ValidationError)
        return (
            RefusedPart(Reason.WRONG_SHAPE if wrong_shape else Reason.NOT_JSON, str(error), frame),
        )
    if kind.status is not None:
        return ()
    return (RefusedPart(Reason.UNKNOWN_TYPE, f"frame type {kind.type!r}", frame),)


def ticker(raw: UpbitMessage, arrival: Arrival, seq: int) -> UpbitTicker:
    """
    Return the numbered ticker.

    Raises:
        BadRecord: If the market, a number or the time is unusable.
    """
    if not raw.code or "\x00" in raw.code:
        raise BadRecord("a ticker without a market", reason=Reason.BAD_SYMBOL)
    if raw.timestamp > arrival.latest_ms:
        # It would stay the latest value until that time.
        ahead_ms = raw.timestamp - arrival.received_ms
        raise BadRecord(f"dated {ahead_ms} ms ahead", reason=Reason.FUTURE_DATED)
    numbers = {name: getattr(raw, name) for name in NUMBERS}
    for name, number in numbers.items():
        if number is not None and not number.is_finite():
            raise BadRecord(f"no usable {name}", reason=Reason.BAD_PRICE)
    return UpbitTicker(
        market=raw.code,
        timestamp_ms=raw.timestamp,
        epoch=arrival.epoch,
        seq=seq,
        pod_index=arrival.shard,
        trade_timestamp=raw.trade_timestamp,
        change=raw.change,
        stream_type=raw.stream_type,
        source=SOURCE,
        created_at=arrival.received_at,
        **numbers,
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


def _line(ticker: UpbitTicker, received: str) -> str:
    numbers = "\t".join([copy_number(getattr(ticker, name)) for name in NUMBERS])
    return (
        f"{copy_text(ticker.market)}\t{ticker.timestamp_ms}\t{numbers}\t"
        f"{copy_number(ticker.trade_timestamp)}\t{copy_text(ticker.change)}\t"
        f"{copy_text(ticker.stream_type)}\t{copy_text(ticker.source or SOURCE)}\t{received}\t"
        f"{ticker.pod_index}\t{ticker.epoch}\t{ticker.seq}\n"
    )


def _value(ticker: UpbitTicker) -> str:
    numbers = {
        "price": ticker.trade_price,
        "change_rate": ticker.signed_change_rate,
        "change_price": ticker.signed_change_price,
        "volume": ticker.trade_volume,
        "acc_trade_price_24h": ticker.acc_trade_price_24h,
        "acc_trade_volume_24h": ticker.acc_trade_volume_24h,
    }
    inner = "".join(f'"{name}":{number},' for name, number in numbers.items() if number is not None)
    return (
        f'{{"symbol":{json_text(ticker.market)},"market":{json_text(ticker.market)},{inner}'
        f'"timestamp":{ticker.timestamp_ms},"source":"upbit",'
        f'"event_time_ms":{ticker.timestamp_ms},"schema":{SCHEMA_VERSION}}}'
    )


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
        line=_line,
        value=_value,
        symbol_column="market",
        price_column="trade_price",
        volume_column="trade_volume",
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
