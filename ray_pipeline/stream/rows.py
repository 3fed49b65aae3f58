"""Records as rows: COPY text for Postgres, JSON for Redis, and what a bar needs of them."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from operator import attrgetter
from typing import Generic, TypeVar

import msgspec

from ray_pipeline.errors import BadRecord
from ray_pipeline.feeds.bithumb import COPIED
from ray_pipeline.feeds.records import (
    BITHUMB_SOURCE,
    FINNHUB_SP500_SOURCE,
    FINNHUB_TOP_GAINERS_SOURCE,
    Gap,
    Ticker,
    Trade,
    from_ms,
)
from ray_pipeline.timestamps import in_utc, nearest_of_ms

NULL = "\\N"
MEMO_LIMIT = 20_000
SCHEMA_VERSION = 1
OLDEST_MS = 946_684_800_000  # 2000-01-01: nothing we collect is older, and each month is a table
OLDEST = from_ms(OLDEST_MS)
MOST_DIGITS = 300  # Postgres would take more, but not from a market
_ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r", "\b": "\\b"})

T = TypeVar("T", Trade, Ticker)


@dataclass(frozen=True, slots=True)
class Layout(Generic[T]):
    """
    How one feed's records become rows.

    Attributes:
        kind: The record type.
        columns: Of the history table, in the order of `line`.
        line: COPY text of a record that was received at the given UTC time, with its newline.
        value: JSON text for Redis, None where there is nothing to show.
        symbol, event_ms, price, volume: What bars and latest values need; no price, no bar.
    """

    kind: type[T]
    columns: tuple[str, ...]
    line: Callable[[T, str], str]
    value: Callable[[T], str | None]
    symbol: Callable[[T], str]
    event_ms: Callable[[T], int]
    price: Callable[[T], Decimal | None]
    volume: Callable[[T], Decimal | None]


def escape(text: str) -> str:
    """
    Return text as COPY wants it.

    Raises:
        BadRecord: If it holds a NUL or half a surrogate pair, which Postgres cannot store.
    """
    if text.isprintable() and "\\" not in text:
        return text
    if "\x00" in text or any("\ud800" <= letter <= "\udfff" for letter in text):
        raise BadRecord("text that Postgres cannot store", reason="bad_text")
    return text.translate(_ESCAPES)


class _Texts(dict[str | None, str]):
    """Remembers the escaped form of texts that come again and again."""

    def __missing__(self, text: str | None) -> str:
        if len(self) > MEMO_LIMIT:
            self.clear()
        self[text] = known = NULL if text is None else escape(text)
        return known


class _Memo:
    """Remembers texts and lists as COPY wants them."""

    __slots__ = ("_lists", "text")

    def __init__(self) -> None:
        self.text = _Texts().__getitem__
        self._lists: dict[tuple[str, ...], str] = {}

    def array(self, items: list[str] | None) -> str:
        if items is None:
            return NULL
        key = tuple(items)
        known = self._lists.get(key)
        if known is None:
            if len(self._lists) > MEMO_LIMIT:
                self._lists = {}
            known = self._lists[key] = escape("{" + ",".join(map(_element, items)) + "}")
        return known


def _element(item: str) -> str:
    return '"' + item.replace("\\", "\\\\").replace('"', '\\"') + '"'


_memo = _Memo()
_json = msgspec.json.Encoder(decimal_format="number")


def received_text(created_at: datetime | None, broker_ms: int) -> str:
    """Return the time of receipt in UTC as Postgres reads it; the nearest that Python can hold."""
    if created_at is None:
        return nearest_of_ms(broker_ms).isoformat()
    if created_at.tzinfo is UTC:
        return created_at.isoformat()
    return in_utc(created_at).isoformat()


def check_number(number: Decimal, name: str) -> None:
    """
    Refuse a number whose size no market has.

    Raises:
        BadRecord: If it is past 10 ** MOST_DIGITS, or that near to zero.
    """
    if number and not -MOST_DIGITS < number.adjusted() < MOST_DIGITS:
        raise BadRecord(f"{name} is out of any range", reason="bad_number")


def bad_event_time(event_ms: int, *, now_ms: int) -> BadRecord:
    """Return why a time outside the allowed range is refused."""
    if event_ms > now_ms:
        # It would hold the latest value for ever.
        return BadRecord(f"dated {event_ms - now_ms} ms ahead", reason="future_dated")
    return BadRecord(f"dated {event_ms} ms after 1970", reason="bad_time")


def storable_gap(gap: Gap, *, latest: datetime) -> Gap:
    """
    Return a gap that Postgres can store and every reader can read.

    Its times are moved into the range from 2000 to `latest`, and its cause says which were outside.
    Text loses its NULs, which Postgres cannot store.
    """
    times = {"from_at": gap.from_at, "to_at": gap.to_at}
    moved = {
        name: min(max(utc, OLDEST), latest)
        for name, moment in times.items()
        if moment is not None and not OLDEST <= (utc := in_utc(moment)) <= latest
    }
    said = "".join(f" ({name} was {times[name]})" for name in moved)
    return msgspec.structs.replace(
        gap,
        gap_kind=without_nul(gap.gap_kind),
        cause=without_nul(gap.cause) + said,
        symbols=None if gap.symbols is None else [without_nul(name) for name in gap.symbols],
        **moved,
    )


def without_nul(text: str) -> str:
    """Return text without the one character that Postgres cannot store."""
    return text.replace("\x00", "")


def _sp500_line(trade: Trade, received: str) -> str:
    text = _memo.text
    return (
        f"{text(trade.symbol)}\t{trade.price}\t{NULL if trade.volume is None else trade.volume}\t"
        f"{trade.timestamp_ms}\t{_memo.array(trade.trade_conditions)}\t{text(trade.pod_name)}\t"
        f"{text(trade.source or FINNHUB_SP500_SOURCE)}\t{trade.pod_index}\t{received}\t"
        f"{trade.epoch}\t{trade.seq}\n"
    )


def _top_gainers_line(trade: Trade, received: str) -> str:
    text = _memo.text
    return (
        f"{text(trade.symbol)}\t{trade.price}\t{NULL if trade.volume is None else trade.volume}\t"
        f"{trade.timestamp_ms}\t{_memo.array(trade.trade_conditions)}\t"
        f"{text(trade.source or FINNHUB_TOP_GAINERS_SOURCE)}\t{received}\t{text(trade.category)}\t"
        f"{trade.pod_index}\t{trade.epoch}\t{trade.seq}\n"
    )


def _number(number: Decimal | None) -> str:
    return "null" if number is None else str(number)


def _quoted(text: str | None) -> str:
    return _json.encode(text).decode()


def _sp500_value(trade: Trade) -> str:
    return (
        f'{{"symbol":{_quoted(trade.symbol)},"price":{trade.price},'
        f'"volume":{_number(trade.volume)},"pod_index":{trade.pod_index},'
        f'"timestamp":{trade.timestamp_ms},"source":"sp500_websocket",'
        f'"event_time_ms":{trade.timestamp_ms},"schema":{SCHEMA_VERSION}}}'
    )


def _top_gainers_value(trade: Trade) -> str:
    return (
        f'{{"symbol":{_quoted(trade.symbol)},"price":{trade.price},'
        f'"volume":{_number(trade.volume)},"category":{_quoted(trade.category)},'
        f'"timestamp":{trade.timestamp_ms},"source":"finnhub_topgainers",'
        f'"event_time_ms":{trade.timestamp_ms},"schema":{SCHEMA_VERSION}}}'
    )


def _ticker_value(ticker: Ticker) -> str | None:
    # One item without a price empties the whole snapshot of a client that sorts by it.
    if ticker.trade_price is None:
        return None
    numbers = {
        "price": ticker.trade_price,
        "change_rate": ticker.signed_change_rate,
        "change_price": ticker.signed_change_price,
        "volume": ticker.trade_volume,
        "acc_trade_price_24h": ticker.acc_trade_price_24h,
    }
    inner = "".join(f'"{name}":{number},' for name, number in numbers.items() if number is not None)
    return (
        f'{{"symbol":{_quoted(ticker.market)},"market":{_quoted(ticker.market)},{inner}'
        f'"timestamp":{ticker.timestamp_field},"source":"bithumb",'
        f'"event_time_ms":{ticker.timestamp_field},"schema":{SCHEMA_VERSION}}}'
    )


TICKER_COLUMNS = (
    "market", "trade_date", "trade_time", "trade_date_kst", "trade_time_kst", "trade_timestamp",
    *COPIED, "timestamp_field", "source", "created_at", "pod_index", "epoch", "seq",
)  # fmt: skip
_TICKER_TEXT = ("change", "highest_52_week_date", "lowest_52_week_date")


def _ticker_line(ticker: Ticker, received: str) -> str:
    text = _memo.text
    copied = "\t".join(
        text(getattr(ticker, name)) if name in _TICKER_TEXT else _plain(getattr(ticker, name))
        for name in COPIED
    )
    return (
        f"{text(ticker.market)}\t{text(ticker.trade_date)}\t{text(ticker.trade_time)}\t"
        f"{text(ticker.trade_date_kst)}\t{text(ticker.trade_time_kst)}\t"
        f"{_plain(ticker.trade_timestamp)}\t{copied}\t{ticker.timestamp_field}\t"
        f"{text(ticker.source or BITHUMB_SOURCE)}\t{received}\t{ticker.pod_index}\t"
        f"{ticker.epoch}\t{ticker.seq}\n"
    )


def _plain(number: Decimal | int | None) -> str:
    return NULL if number is None else str(number)


_TRADE_COLUMNS = ("symbol", "price", "volume", "timestamp_ms", "trade_conditions")

SP500: Layout[Trade] = Layout(
    kind=Trade,
    columns=(
        *_TRADE_COLUMNS,
        "pod_name",
        "source",
        "pod_index",
        "created_at",
        "epoch",
        "seq",
    ),
    line=_sp500_line,
    value=_sp500_value,
    symbol=attrgetter("symbol"),
    event_ms=attrgetter("timestamp_ms"),
    price=attrgetter("price"),
    volume=attrgetter("volume"),
)

TOP_GAINERS: Layout[Trade] = Layout(
    kind=Trade,
    columns=(
        *_TRADE_COLUMNS,
        "source",
        "created_at",
        "category",
        "pod_index",
        "epoch",
        "seq",
    ),
    line=_top_gainers_line,
    value=_top_gainers_value,
    symbol=attrgetter("symbol"),
    event_ms=attrgetter("timestamp_ms"),
    price=attrgetter("price"),
    volume=attrgetter("volume"),
)

BITHUMB: Layout[Ticker] = Layout(
    kind=Ticker,
    columns=TICKER_COLUMNS,
    line=_ticker_line,
    value=_ticker_value,
    symbol=attrgetter("market"),
    event_ms=attrgetter("timestamp_field"),
    price=attrgetter("trade_price"),
    volume=attrgetter("trade_volume"),
)
