"""
Bithumb's tickers: WebSocket v2 and REST `/v1/ticker`, converted to one form.

The two interfaces disagree about time (recorded answers of 2025 and 2026). Over REST `trade_date`
and `trade_time` are UTC, while `trade_timestamp`, and by 2026 also `timestamp`, is Korean wall time
written as an epoch, nine hours ahead. Over the WebSocket, date and time are Korean and the
timestamps are true epochs. This module returns UTC in `trade_date`, Korean time in
`trade_date_kst`, and true epochs.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone, tzinfo

import msgspec

from ray_pipeline.dead_letter_reasons import Reason
from ray_pipeline.errors import BadRecord, FeedRefused, SymbolRefused
from ray_pipeline.feeds.codec import UNDECODABLE
from ray_pipeline.feeds.feed import Feed, RedisKeys
from ray_pipeline.feeds.layout import Layout
from ray_pipeline.feeds.protocol import AllSymbols, Arrival, RefusedPart, RestPoll, VenueProtocol
from ray_pipeline.feeds.records import SNAPSHOT, DetailedTickerFields, Ticker, from_ms
from ray_pipeline.feeds.symbol_source import Fill, RestListing, Row, SymbolSource
from ray_pipeline.feeds.upbit_protocol import (
    TRADE_COLUMNS,
    FrameParser,
    check_ticker,
    copy_line,
    redis_value,
    subscribe,
)
from ray_pipeline.foreign_text import foreign_text

SOURCE = "bithumb"
WS_URL = "wss://ws-api.bithumb.com/websocket/v1"
REST_URL = "https://api.bithumb.com"
MARKETS_PER_REQUEST = 100  # 200 are refused from 2026-10-13 on
KST = timezone(timedelta(hours=9))
SHIFT_MS = 9 * 3_600_000
CLOCK_TOLERANCE_MS = 60_000
REPLAY_AGE_MS = 86_400_000
WRONG_REQUEST = frozenset({"400", "404"})  # names of errors: too many codes, an unknown code


class RawTicker(DetailedTickerFields, frozen=True):
    """A ticker as Bithumb writes it: `code` over the WebSocket, `market` over REST."""

    timestamp: int
    code: str | None = None
    market: str | None = None


class _Market(msgspec.Struct, frozen=True):
    """One market as Bithumb lists it."""

    market: str
    korean_name: str
    english_name: str
    market_warning: str | None = None


class _Problem(msgspec.Struct, frozen=True):
    name: str | int
    message: str = ""


class _Error(msgspec.Struct, frozen=True):
    """An error as Bithumb writes it."""

    error: _Problem


_errors = msgspec.json.Decoder(_Error)
_lists = msgspec.json.Decoder(list[msgspec.Raw])
_markets = msgspec.json.Decoder(list[_Market])

parse_frame = FrameParser("Bithumb", RawTicker)


def parse_answer(body: bytes) -> Iterator[RawTicker | RefusedPart]:
    """
    Yield the tickers in an answer of `/v1/ticker`, in its order.

    Raises:
        SymbolRefused: If the answer says that the request is wrong; Bithumb sends those under HTTP
            200 too.
        FeedRefused: If it is another error, or not from Bithumb.
    """
    try:
        rows = _lists.decode(body)
    except UNDECODABLE as error:
        problem = _problem(body)
        if problem is not None and str(problem.name) in WRONG_REQUEST:
            raise SymbolRefused(foreign_text(f"{problem.name} {problem.message}")) from None
        start = foreign_text(body[:200].decode("utf-8", "replace"))
        raise FeedRefused(f"Bithumb's answer is not a list of tickers: {start}") from error
    for row in rows:
        yield parse_frame.ticker(bytes(row))


def _problem(body: bytes) -> _Problem | None:
    """Return the problem in {"error": {"name": 404, "message": "Code not found"}}, if any."""
    try:
        return _errors.decode(body).error
    except UNDECODABLE:
        return None


def markets(body: bytes) -> Iterator[Row]:
    """
    Yield the code, the names and the warning of each market in an answer of `/v1/market/all`.

    Raises:
        FeedRefused: If the answer is not a list of markets.
    """
    try:
        for market in _markets.decode(body):
            yield market.market, market.korean_name, market.english_name, market.market_warning
    except UNDECODABLE as error:
        raise FeedRefused(f"Bithumb's list of markets is invalid: {error}") from error


def ticker(raw: RawTicker, arrival: Arrival, seq: int) -> Ticker:
    """
    Return a ticker with corrected times.

    Raises:
        BadRecord: If it names no market, or if a time or a number is unusable.
    """
    try:
        trade_ms, timestamp_ms, traded_at = _times(raw, arrival.received_at)
        trade_date, trade_time = _texts(traded_at, UTC)
        trade_date_kst, trade_time_kst = _texts(traded_at, KST)
    except (ValueError, OverflowError) as error:
        raise BadRecord(str(error), reason=Reason.BAD_TIME) from error
    market = check_ticker(raw, arrival, market=raw.code or raw.market, timestamp_ms=timestamp_ms)
    corrected = {
        "trade_timestamp": trade_ms,
        "trade_date": trade_date,
        "trade_time": trade_time,
        "trade_date_kst": trade_date_kst,
        "trade_time_kst": trade_time_kst,
        # An answer over REST shows what a snapshot shows.
        "stream_type": raw.stream_type if raw.code is not None else SNAPSHOT,
    }
    return Ticker(
        market=market,
        timestamp_field=timestamp_ms,
        epoch=arrival.epoch,
        seq=seq,
        pod_index=arrival.shard,
        source=SOURCE,
        created_at=arrival.received_at,
        **({name: getattr(raw, name) for name in COPIED} | corrected),
    )


def _times(raw: RawTicker, received_at: datetime) -> tuple[int | None, int, datetime | None]:
    """Return the timestamps of trade and ticker (ms, true epochs) and the time of the trade."""
    if raw.code is not None:
        from_ms(raw.timestamp)
        traded_at = _moment(raw.trade_date, raw.trade_time, KST)
        if traded_at is None and raw.trade_timestamp is not None:
            traded_at = from_ms(raw.trade_timestamp)
        return raw.trade_timestamp, raw.timestamp, traded_at
    traded_at = _moment(raw.trade_date, raw.trade_time, UTC)
    trade_ms = _trade_ms(raw.trade_timestamp, traded_at)
    received_ms = int(received_at.timestamp() * 1000)
    return trade_ms, _stamp_ms(raw.timestamp, trade_ms, received_ms), traded_at


def _trade_ms(stamp_ms: int | None, traded_at: datetime | None) -> int | None:
    """Subtract nine hours from a timestamp that is nine hours ahead of its date and time."""
    if stamp_ms is None or traded_at is None:
        return stamp_ms
    ahead_ms = stamp_ms - int(traded_at.timestamp() * 1000)
    return stamp_ms - SHIFT_MS if abs(ahead_ms - SHIFT_MS) < CLOCK_TOLERANCE_MS else stamp_ms


def _stamp_ms(stamp_ms: int, trade_ms: int | None, received_ms: int) -> int:
    """
    Subtract nine hours from a ticker's timestamp if it is Korean wall time.

    In a live answer such a timestamp is hours ahead of its arrival. The arrival of a recorded
    answer proves nothing, so the timestamp is compared with the trade that it follows closely.
    """
    if stamp_ms > received_ms + SHIFT_MS // 2:
        return stamp_ms - SHIFT_MS
    recorded = received_ms - stamp_ms > REPLAY_AGE_MS
    if recorded and trade_ms is not None:
        ahead_ms = stamp_ms - trade_ms
        if abs(ahead_ms - SHIFT_MS) < CLOCK_TOLERANCE_MS * 10:
            return stamp_ms - SHIFT_MS
    return stamp_ms


def _texts(moment: datetime | None, zone: tzinfo) -> tuple[str | None, str | None]:
    """Return date and time as the table holds them: YYYYMMDD and HHMMSS."""
    if moment is None:
        return None, None
    local = moment.astimezone(zone)
    return local.strftime("%Y%m%d"), local.strftime("%H%M%S")


def _moment(date: str | None, time: str | None, zone: timezone) -> datetime | None:
    """Read "20260923" or "2026-09-23" with "121833" or "12:18:33"."""
    if not date or not time:
        return None
    digits = (date + time).replace("-", "").replace(":", "")
    return datetime.strptime(digits, "%Y%m%d%H%M%S").replace(tzinfo=zone)


COPIED = DetailedTickerFields.__struct_fields__
# The table has no column for the type of the stream.
COLUMNS = (
    "market", *(name for name in COPIED if name != "stream_type"), "timestamp_field", "source",
    "created_at", "pod_index", "epoch", "seq",
)  # fmt: skip
SHOWN = {
    "price": "trade_price",
    "change_rate": "signed_change_rate",
    "change_price": "signed_change_price",
    "volume": "trade_volume",
    "acc_trade_price_24h": "acc_trade_price_24h",
}

LISTING = RestListing("/v1/market/all", {"isDetails": "true"}, markets)

FEED = Feed(
    name="bithumb",
    title="Tickers of all markets of Bithumb",
    rank=2,
    topic="bithumb-ticker",
    table="bithumb_ticker",
    latest_table="bithumb_ticker_latest",
    layout=Layout(
        kind=Ticker,
        columns=COLUMNS,
        line=copy_line(Ticker, COLUMNS, source=SOURCE),
        value=redis_value(SOURCE, "timestamp_field", SHOWN),
        symbol_column="market",
        event_column="timestamp_field",
        price_column="trade_price",
        volume_column="trade_volume",
        trade_columns=(*TRADE_COLUMNS, "acc_trade_volume"),
    ),
    redis=RedisKeys("crypto", ttl_s=86_400, hash="crypto_realtime_data", channel="crypto_updates"),
    protocol=VenueProtocol(
        venue="bithumb",
        title="Bithumb",
        ws_url=WS_URL,
        rest_url=REST_URL,
        subscription=AllSymbols(subscribe),
        parse=parse_frame,
        record=ticker,
        one_record_per_frame=True,
        poll=RestPoll(
            path="/v1/ticker",
            parameter="markets",
            symbols_per_request=MARKETS_PER_REQUEST,
            parse=parse_answer,
            pause_s=5.0,
        ),
    ),
    symbols=SymbolSource(
        query="SELECT market_code FROM market_code_bithumb ORDER BY market_code",
        poll_s=3_600.0,
        if_empty=Fill(
            table="market_code_bithumb",
            insert="""
                INSERT INTO market_code_bithumb
                    (market_code, korean_name, english_name, market_warning)
                VALUES (%s, %s, %s, %s) ON CONFLICT (market_code) DO NOTHING
            """,
            rows=LISTING,
            source="Bithumb",
        ),
    ),
    simulator="bithumb",
)
