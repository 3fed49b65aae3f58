"""
Bithumb's tickers: WebSocket v2 and REST `/v1/ticker`, brought to one shape.

Which time is which (recorded answers of 2025 and 2026): over REST `trade_date` and `trade_time` are
UTC, and `trade_timestamp`, by 2026 `timestamp` too, is Korean wall time written as an epoch, nine
hours ahead. Over the WebSocket it is the other way round: date and time are Korean, the stamps are
true.
What leaves this module is right: UTC in `trade_date`, Korea in `trade_date_kst`, true epochs.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from decimal import Decimal

import msgspec

from ray_pipeline.errors import BadRecord, FeedRefused
from ray_pipeline.feeds.codec import UNDECODABLE
from ray_pipeline.feeds.feed import FeedSpec
from ray_pipeline.feeds.records import BITHUMB_SOURCE, Ticker, from_ms

SPEC = FeedSpec(
    name="bithumb",
    topic="bithumb-ticker",
    table="bithumb_ticker",
    redis_prefix="crypto",
    redis_hash="crypto_realtime_data",
    channel="crypto_updates",
    partitions_setting="bithumb_partitions",
    venue=None,
)

WS_URL = "wss://ws-api.bithumb.com/websocket/v1"
REST_URL = "https://api.bithumb.com"
MARKETS_PER_REQUEST = 100  # 200 are refused from 2026-10-13 on
KST = timezone(timedelta(hours=9))
SHIFT_MS = 9 * 3_600_000
CLOCK_TOLERANCE_MS = 60_000
REPLAY_AGE_MS = 86_400_000


class RawTicker(msgspec.Struct, frozen=True, gc=False):
    """A ticker as Bithumb writes it: `code` over the WebSocket, `market` over REST."""

    timestamp: int
    code: str | None = None
    market: str | None = None
    type: str | None = None
    trade_date: str | None = None
    trade_time: str | None = None
    trade_date_kst: str | None = None
    trade_time_kst: str | None = None
    trade_timestamp: int | None = None
    opening_price: Decimal | None = None
    high_price: Decimal | None = None
    low_price: Decimal | None = None
    trade_price: Decimal | None = None
    prev_closing_price: Decimal | None = None
    change: str | None = None
    change_price: Decimal | None = None
    change_rate: Decimal | None = None
    signed_change_price: Decimal | None = None
    signed_change_rate: Decimal | None = None
    trade_volume: Decimal | None = None
    acc_trade_price: Decimal | None = None
    acc_trade_price_24h: Decimal | None = None
    acc_trade_volume: Decimal | None = None
    acc_trade_volume_24h: Decimal | None = None
    highest_52_week_price: Decimal | None = None
    highest_52_week_date: str | None = None
    lowest_52_week_price: Decimal | None = None
    lowest_52_week_date: str | None = None
    stream_type: str | None = None


COPIED = (
    "opening_price", "high_price", "low_price", "trade_price", "prev_closing_price", "change",
    "change_price", "change_rate", "signed_change_price", "signed_change_rate", "trade_volume",
    "acc_trade_price", "acc_trade_price_24h", "acc_trade_volume", "acc_trade_volume_24h",
    "highest_52_week_price", "highest_52_week_date", "lowest_52_week_price", "lowest_52_week_date",
)  # fmt: skip


NO_ERROR = msgspec.Raw(b"null")


class _Kind(msgspec.Struct, frozen=True):
    type: str | None = None
    error: msgspec.Raw = NO_ERROR  # a union with None would take no object
    status: str | None = None


@dataclass(frozen=True, slots=True)
class Refusal:
    """Something that is no ticker, and why."""

    reason: str
    detail: str
    payload: bytes


_kinds = msgspec.json.Decoder(_Kind)
_tickers = msgspec.json.Decoder(RawTicker)
_lists = msgspec.json.Decoder(list[msgspec.Raw])


def subscribe(ticket: str, markets: Sequence[str]) -> str:
    """Return the one frame that subscribes to all markets; a new one replaces it."""
    return msgspec.json.encode(
        [{"ticket": ticket}, {"type": "ticker", "codes": list(markets)}, {"format": "DEFAULT"}]
    ).decode()


def parse_frame(frame: bytes | str) -> RawTicker | Refusal | None:
    """
    Return the ticker in a WebSocket frame, None for a status or other harmless frame.

    Raises:
        FeedRefused: If the frame is one of Bithumb's errors; it closes the connection after them.
    """
    payload = frame.encode() if isinstance(frame, str) else frame
    try:
        kind = _kinds.decode(payload)
        if kind.error != NO_ERROR:
            raise FeedRefused(f"Bithumb refused the subscription: {bytes(kind.error).decode()}")
        if kind.type == "ticker":
            return _tickers.decode(payload)
    except UNDECODABLE as error:
        return Refusal(_reason(error), str(error), payload)
    if kind.status is not None:
        return None
    return Refusal("unknown_type", f"frame type {kind.type!r}", payload)


def parse_answer(body: bytes) -> Iterator[RawTicker | Refusal]:
    """
    Yield the tickers in an answer of `/v1/ticker`, in its order.

    Raises:
        FeedRefused: If the answer is an error; Bithumb sends those under HTTP 200 too.
    """
    try:
        rows = _lists.decode(body)
    except UNDECODABLE as error:
        start = body[:200].decode("utf-8", "replace")
        raise FeedRefused(f"Bithumb answered with something else than tickers: {start}") from error
    for row in rows:
        try:
            yield _tickers.decode(row)
        except UNDECODABLE as error:
            yield Refusal(_reason(error), str(error), bytes(row))


def _reason(error: Exception) -> str:
    return "wrong_shape" if isinstance(error, msgspec.ValidationError) else "not_json"


def ticker(
    raw: RawTicker, *, received_at: datetime, pod_index: int, epoch: int, seq: int
) -> Ticker:
    """
    Return a ticker with its times put right.

    Raises:
        BadRecord: If it names no market, or its times cannot be read.
    """
    market = raw.code or raw.market
    if not market or "\x00" in market:
        raise BadRecord("a ticker without a market", reason="bad_symbol")
    try:
        trade_ms, timestamp_ms, traded_at = _times(raw, received_at)
        trade_date, trade_time = _texts(traded_at, UTC)
        trade_date_kst, trade_time_kst = _texts(traded_at, KST)
    except (ValueError, OverflowError) as error:
        raise BadRecord(str(error), reason="bad_time") from error
    return Ticker(
        market=market,
        timestamp_field=timestamp_ms,
        epoch=epoch,
        seq=seq,
        pod_index=pod_index,
        trade_date=trade_date,
        trade_time=trade_time,
        trade_date_kst=trade_date_kst,
        trade_time_kst=trade_time_kst,
        trade_timestamp=trade_ms,
        source=BITHUMB_SOURCE,
        created_at=received_at,
        **{name: getattr(raw, name) for name in COPIED},
    )


def check(record: Ticker, *, now_ms: int, future_tolerance_ms: int) -> None:
    """
    Refuse a ticker that would hold the latest value for ever, or that has no price.

    Raises:
        BadRecord: With the reason.
    """
    if record.timestamp_field > now_ms + future_tolerance_ms:
        raise BadRecord(f"dated {record.timestamp_field - now_ms} ms ahead", reason="future_dated")


def _times(raw: RawTicker, received_at: datetime) -> tuple[int | None, int, datetime | None]:
    """Return the trade's stamp, the ticker's stamp (ms, true epochs) and the time of the trade."""
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
    """Take nine hours off a stamp that is that far ahead of the date and time beside it."""
    if stamp_ms is None or traded_at is None:
        return stamp_ms
    ahead_ms = stamp_ms - int(traded_at.timestamp() * 1000)
    return stamp_ms - SHIFT_MS if abs(ahead_ms - SHIFT_MS) < CLOCK_TOLERANCE_MS else stamp_ms


def _stamp_ms(stamp_ms: int, trade_ms: int | None, received_ms: int) -> int:
    """
    Take nine hours off a ticker's stamp if it is Korean wall time.

    A live answer shows it: the stamp is hours ahead of its arrival. In a recording, arrival says
    nothing, and the stamp is compared with the trade, which it follows closely.
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
