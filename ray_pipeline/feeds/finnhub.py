"""
Finnhub's WebSocket: trades, one frame per subscription.

    {"type": "trade", "data": [
        {"s": "AAPL",          # symbol
         "p": 129.575,         # price, USD
         "v": 1,               # size, shares; a fraction for crypto
         "t": 1672348887666,   # event time, ms since the epoch; may go backwards inside a frame
         "c": ["1", "24"]}]}   # trade conditions; null or absent at times

`{"type": "ping"}` is an application frame that needs no answer.
"""

import re
from collections.abc import Callable, Sequence
from decimal import Decimal
from urllib.parse import urlencode

import msgspec

from ray_pipeline.dead_letter_reasons import Reason
from ray_pipeline.errors import BadRecord
from ray_pipeline.feeds.codec import UNDECODABLE
from ray_pipeline.feeds.protocol import Arrival, Complaint, PerSymbol, RefusedPart, VenueProtocol
from ray_pipeline.feeds.records import Trade

PROVIDER = "finnhub"
WS_URL = "wss://ws.finnhub.io"
MOST_REFUSED_PARTS = 100  # of a frame
SYMBOLS_PER_CONNECTION = 50  # of a free plan, which allows one connection per key


class Print(msgspec.Struct, frozen=True, gc=False):
    """One trade as Finnhub writes it."""

    s: str
    p: Decimal
    t: int
    v: Decimal | None = None
    c: list[str] | None = None


class _Frame(msgspec.Struct, frozen=True):
    type: str
    data: list[Print] = []
    msg: str = ""


class _LooseFrame(msgspec.Struct, frozen=True):
    type: str
    data: list[msgspec.Raw] = []


Event = Print | RefusedPart | Complaint

# Finnhub writes the type after the data; its documentation shows it before.
_TYPE = rb'(?P<type>"type"\s*:\s*"trade")'
_HEAD = re.compile(rb"\s*\{\s*(?:" + _TYPE + rb'\s*,)?\s*"data"\s*:\s*\[')
_TAIL = re.compile(rb"\](?:\s*,\s*" + _TYPE + rb")?\s*\}\s*$")
_TRADE = re.compile(rb"(\{[^{}]*\})")

_frames = msgspec.json.Decoder(_Frame)
_loose_frames = msgspec.json.Decoder(_LooseFrame)
_prints = msgspec.json.Decoder(Print)


def url(base: str, key: str) -> str:
    """Return the URL to connect to. It holds the key: never log it."""
    return f"{base.rstrip('/')}/?{urlencode({'token': key})}"


def spelling(symbol: str) -> str:
    """Return Finnhub's spelling: a share class after a dot, where others write BRK-B or BRK/B."""
    return symbol.strip().upper().replace("-", ".").replace("/", ".")


def subscribe(symbol: str) -> str:
    """Return the frame that subscribes to a symbol; Finnhub has no bulk subscription."""
    return msgspec.json.encode({"type": "subscribe", "symbol": symbol}).decode()


def unsubscribe(symbol: str) -> str:
    """Return the frame that ends the subscription to a symbol."""
    return msgspec.json.encode({"type": "unsubscribe", "symbol": symbol}).decode()


def parse(frame: bytes | str) -> Sequence[Event]:
    """Return the contents of a frame in its order. A part that is not a trade is a refusal."""
    try:
        message = _frames.decode(frame)
    except UNDECODABLE as error:
        return _salvage(_bytes(frame), error)
    if message.type == "trade":
        return message.data
    if message.type == "ping":
        return ()
    if message.type == "error":
        return [Complaint(message.msg or "no reason given")]
    return [RefusedPart(Reason.UNKNOWN_TYPE, f"frame type {message.type!r}", _bytes(frame))]


def _salvage(frame: bytes, cause: Exception) -> list[Event]:
    """
    Return the contents of a frame that does not decode as a whole.

    One bad trade must not cost the good trades of its frame, so each trade is decoded on its own.
    """
    events = [_entry(raw) for raw in _entries(frame)]
    refused = sum(type(event) is RefusedPart for event in events)
    if events and refused <= MOST_REFUSED_PARTS:
        return events
    # Thousands of dead letters of one frame would hold up the connection.
    trades = [event for event in events if type(event) is Print]
    return [*trades, RefusedPart(_reason(cause), str(cause), frame)]


def _entry(raw: bytes | msgspec.Raw) -> Event:
    try:
        return _prints.decode(raw)
    except UNDECODABLE as error:
        return RefusedPart(_reason(error), str(error), bytes(raw))


def _entries(frame: bytes) -> Sequence[bytes | msgspec.Raw]:
    """Return the entries of a trade frame in their order; none if it is not a trade frame."""
    try:
        message = _loose_frames.decode(frame)
    except msgspec.ValidationError:
        return ()
    except UNDECODABLE:
        return _split(frame)
    return message.data if message.type == "trade" else ()


def _split(frame: bytes) -> list[bytes]:
    """
    Return the entries of a trade frame that is not JSON.

    A trade has no object inside, so what is between two braces is one, whatever its neighbours look
    like. What remains between the trades is an entry too: no byte is dropped.
    """
    head, tail = _HEAD.match(frame), _TAIL.search(frame)
    if head is None or not (head["type"] or (tail and tail["type"])):
        return []
    entries = _TRADE.split(frame[head.end() : tail.start() if tail else len(frame)])
    return [entry for entry in entries if entry.strip(b", \t\r\n")]


def _reason(error: Exception) -> Reason:
    return Reason.WRONG_SHAPE if isinstance(error, msgspec.ValidationError) else Reason.NOT_JSON


def _bytes(frame: bytes | str) -> bytes:
    return frame.encode("utf-8", "replace") if isinstance(frame, str) else frame


def trade_maker(source: str) -> Callable[[Print, Arrival, int], Trade]:
    """Return the function that makes the trades of one feed, with `source` as their origin."""

    def trade(event: Print, arrival: Arrival, seq: int) -> Trade:
        if event.t > arrival.latest_ms:
            # It would stay the latest value until that time.
            ahead_ms = event.t - arrival.received_ms
            raise BadRecord(f"dated {ahead_ms} ms ahead", reason=Reason.FUTURE_DATED)
        symbol = event.s
        if not symbol or "\x00" in symbol:
            raise BadRecord("no usable symbol", reason=Reason.BAD_SYMBOL)
        if not event.p.is_finite():
            raise BadRecord("no usable price", reason=Reason.BAD_PRICE)
        if event.v is not None and not event.v.is_finite():
            raise BadRecord("no usable volume", reason=Reason.BAD_VOLUME)
        return Trade(
            symbol=symbol,
            price=event.p,
            volume=event.v,
            timestamp_ms=event.t,
            epoch=arrival.epoch,
            seq=seq,
            pod_index=arrival.shard,
            trade_conditions=event.c,
            pod_name=arrival.producer,
            source=source,
            category=arrival.categories.get(symbol),
            created_at=arrival.received_at,
        )

    return trade


def protocol(source: str) -> VenueProtocol[Print]:
    """Return the protocol of a feed that stores Finnhub's trades with `source` as their origin."""
    return VenueProtocol(
        venue=PROVIDER,
        title="Finnhub",
        ws_url=WS_URL,
        subscription=PerSymbol(subscribe, unsubscribe),
        parse=parse,
        record=trade_maker(source),
        url=url,
    )
