"""
Finnhub's WebSocket protocol: what is sent, and what a frame says.

    {"type": "trade", "data": [
        {"s": "AAPL",          # symbol
         "p": 129.575,         # price, USD
         "v": 1,               # size, shares; a fraction for crypto
         "t": 1672348887666,   # event time, ms since the epoch; may go backwards inside a frame
         "c": ["1", "24"]}]}   # trade conditions; null or absent at times

`{"type": "ping"}` is an application frame that needs no answer.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from urllib.parse import urlencode

import msgspec

from ray_pipeline.errors import BadRecord
from ray_pipeline.feeds.codec import UNDECODABLE

WS_URL = "wss://ws.finnhub.io"


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


@dataclass(frozen=True, slots=True)
class Refusal:
    """A piece of a frame that is no trade, and why."""

    reason: str
    detail: str
    payload: bytes


@dataclass(frozen=True, slots=True)
class Ping:
    """The server is alive."""


@dataclass(frozen=True, slots=True)
class Complaint:
    """The server did not like what we sent, such as one symbol too many."""

    message: str


Event = Print | Refusal | Ping | Complaint

_frames = msgspec.json.Decoder(_Frame)
_loose_frames = msgspec.json.Decoder(_LooseFrame)
_prints = msgspec.json.Decoder(Print)


def url(base: str, key: str) -> str:
    """Return the URL to connect to. It holds the key: never log it."""
    return f"{base.rstrip('/')}/?{urlencode({'token': key})}"


def subscribe(symbol: str) -> str:
    """Return the frame that starts a symbol; Finnhub has no bulk subscription."""
    return msgspec.json.encode({"type": "subscribe", "symbol": symbol}).decode()


def unsubscribe(symbol: str) -> str:
    """Return the frame that ends a symbol."""
    return msgspec.json.encode({"type": "unsubscribe", "symbol": symbol}).decode()


def parse(frame: bytes | str) -> Sequence[Event]:
    """Return all that a frame says, in its order: what is no trade is a refusal, not dropped."""
    try:
        message = _frames.decode(frame)
    except UNDECODABLE:
        return list(_salvage(frame))
    if message.type == "trade":
        return message.data
    if message.type == "ping":
        return [Ping()]
    if message.type == "error":
        return [Complaint(message.msg)]
    return [Refusal("unknown_type", f"frame type {message.type!r}", _bytes(frame))]


def _salvage(frame: bytes | str) -> Iterator[Event]:
    """Take a frame apart that is not right as a whole: the good trades in it are still trades."""
    try:
        message = _loose_frames.decode(frame)
    except msgspec.ValidationError as error:
        yield Refusal("wrong_shape", str(error), _bytes(frame))
        return
    except UNDECODABLE as error:
        yield Refusal("not_json", str(error), _bytes(frame))
        return
    for raw in message.data:
        try:
            yield _prints.decode(raw)
        except UNDECODABLE as error:
            yield Refusal("wrong_shape", str(error), bytes(raw))


def _bytes(frame: bytes | str) -> bytes:
    return frame.encode("utf-8", "replace") if isinstance(frame, str) else frame


def check(trade: Print, *, now_ms: int, future_tolerance_ms: int) -> None:
    """
    Refuse a trade that would do harm: dated in the future it would hold the latest value for ever.

    Raises:
        BadRecord: With the reason.
    """
    if trade.t > now_ms + future_tolerance_ms:
        raise BadRecord(f"dated {trade.t - now_ms} ms ahead", reason="future_dated")
    if not trade.s or "\x00" in trade.s:
        raise BadRecord("no usable symbol", reason="bad_symbol")
    if not trade.p.is_finite():
        raise BadRecord("no usable price", reason="bad_price")
