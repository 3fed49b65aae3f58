"""
The protocol of Upbit, which Bithumb has adopted: one subscription, one ticker a frame, errors.

The venues differ in their fields and in how they write times; their own modules handle that.
"""

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from operator import attrgetter
from typing import Generic, TypeVar

import msgspec

from ray_pipeline.dead_letter_reasons import Reason
from ray_pipeline.errors import BadRecord, FeedRefused
from ray_pipeline.feeds.codec import UNDECODABLE
from ray_pipeline.feeds.layout import SCHEMA_VERSION, copy_number, copy_text, json_text
from ray_pipeline.feeds.protocol import Arrival, RefusedPart
from ray_pipeline.feeds.records import TickerFields

# What identifies the trade of a snapshot, together with a total of the volume; see `Layout`.
TRADE_COLUMNS = ("trade_timestamp", "trade_price", "trade_volume")
NO_ERROR = msgspec.Raw(b"null")

Raw = TypeVar("Raw", bound=TickerFields)
T = TypeVar("T", bound=TickerFields)


class _Kind(msgspec.Struct, frozen=True):
    type: str | None = None
    error: msgspec.Raw = NO_ERROR  # a union with None would take no object
    status: str | None = None


_kinds = msgspec.json.Decoder(_Kind)


def subscribe(ticket: str, markets: Sequence[str]) -> str:
    """Return the frame that subscribes to all markets; a new frame replaces it."""
    return msgspec.json.encode(
        [{"ticket": ticket}, {"type": "ticker", "codes": list(markets)}, {"format": "DEFAULT"}]
    ).decode()


class FrameParser(Generic[Raw]):
    """Reads the frames of one venue into tickers of one type."""

    def __init__(self, title: str, kind: type[Raw]) -> None:
        self._title = title
        self._tickers: msgspec.json.Decoder[Raw] = msgspec.json.Decoder(kind)

    def __call__(self, frame: bytes) -> Sequence[Raw | RefusedPart]:
        """
        Return the ticker in a frame; nothing for a status frame.

        Raises:
            FeedRefused: If the frame is an error: {"error": {"name": "NO_CODES", ...}}. The venue
                closes the connection after it.
        """
        try:
            kind = _kinds.decode(frame)
        except UNDECODABLE as error:
            return (refused_part(error, frame),)
        if kind.error != NO_ERROR:
            text = bytes(kind.error).decode("utf-8", "replace")
            raise FeedRefused(f"{self._title} refused the subscription: {text}")
        if kind.type == "ticker":
            return (self.ticker(frame),)
        if kind.status is not None:
            return ()
        return (RefusedPart(Reason.UNKNOWN_TYPE, f"frame type {kind.type!r}", frame),)

    def ticker(self, text: bytes) -> Raw | RefusedPart:
        """Return the ticker in a JSON object, or its refusal."""
        try:
            return self._tickers.decode(text)
        except UNDECODABLE as error:
            return refused_part(error, text)


def refused_part(error: Exception, payload: bytes) -> RefusedPart:
    """Return the refusal of a payload that msgspec cannot decode."""
    wrong_shape = isinstance(error, msgspec.ValidationError)
    return RefusedPart(Reason.WRONG_SHAPE if wrong_shape else Reason.NOT_JSON, str(error), payload)


def check_ticker(
    raw: TickerFields, arrival: Arrival, *, market: str | None, timestamp_ms: int
) -> str:
    """
    Return the market of a ticker that can be stored.

    Raises:
        BadRecord: If the ticker names no market, is dated ahead, or if one of its numbers is not
            finite.
    """
    if not market or "\x00" in market:
        raise BadRecord("a ticker without a market", reason=Reason.BAD_SYMBOL)
    if timestamp_ms > arrival.latest_ms:
        # It would stay the latest value until that time.
        ahead_ms = timestamp_ms - arrival.received_ms
        raise BadRecord(f"dated {ahead_ms} ms ahead", reason=Reason.FUTURE_DATED)
    for name in raw.__struct_fields__:
        number = getattr(raw, name)
        # JSON cannot express infinity, so no price may be infinite.
        if type(number) is Decimal and not number.is_finite():
            raise BadRecord(f"no usable {name}", reason=Reason.BAD_PRICE)
    return market


def copy_line(kind: type[T], columns: Sequence[str], *, source: str) -> Callable[[T, str], str]:
    """
    Return the function that makes the COPY text of a ticker, given the time of receipt.

    A ticker without a source has `source`.
    """
    # The type of a field decides how it is escaped, so a new field needs no code.
    types = {field.name: field.type for field in msgspec.structs.fields(kind)}
    copies: dict[str, Callable[..., str]] = {
        name: copy_text if types[name] in {str, str | None} else copy_number for name in columns
    }
    copies["source"] = lambda text: copy_text(text or source)
    del copies["created_at"]
    functions, values_of = tuple(copies.values()), attrgetter(*copies)
    position = columns.index("created_at")

    def line(ticker: T, received: str) -> str:
        texts = [copy(value) for copy, value in zip(functions, values_of(ticker), strict=True)]
        texts.insert(position, received)
        return "\t".join(texts) + "\n"

    return line


def redis_value(
    source: str, event_column: str, shown: Mapping[str, str]
) -> Callable[[T], str | None]:
    """
    Return the function that makes the JSON text for Redis; it returns None without a price.

    Args:
        source: The venue, as clients know it.
        event_column: Name of the field with the event time.
        shown: Names of fields by the names that clients read.
    """
    identity_of = attrgetter("market", event_column)

    def value(ticker: T) -> str | None:
        # A client sorts by price: one value without a price would empty its whole snapshot.
        if ticker.trade_price is None:
            return None
        numbers = {name: getattr(ticker, field) for name, field in shown.items()}
        inner = "".join(
            f'"{name}":{number!s},' for name, number in numbers.items() if number is not None
        )
        market, event_ms = identity_of(ticker)
        symbol = json_text(market)
        return (
            f'{{"symbol":{symbol},"market":{symbol},{inner}"timestamp":{event_ms},'
            f'"source":"{source}","event_time_ms":{event_ms},"schema":{SCHEMA_VERSION}}}'
        )

    return value
