"""How records become rows and latest values: COPY text for Postgres, JSON text for Redis."""

from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from operator import attrgetter
from typing import Generic, TypeVar

import msgspec

from ray_pipeline.dead_letter_reasons import Reason
from ray_pipeline.errors import BadRecord
from ray_pipeline.feeds.records import Record

NULL = "\\N"
CACHE_LIMIT = 20_000
SCHEMA_VERSION = 1  # of the values in Redis
MOST_DIGITS = 300  # Postgres accepts more, but no market does
_ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r", "\b": "\\b"})

T = TypeVar("T", bound=Record)
TradeValues = tuple[str, int, Decimal | None, Decimal | None]  # symbol, event time, price, volume


@dataclass(frozen=True, slots=True)
class Layout(Generic[T]):
    """
    How the records of one feed become rows.

    The columns of the table have the names of the record's fields: a rebuild reads records back
    from rows. A bar needs a price.

    Attributes:
        kind: Type of the records.
        columns: Columns of the table in the order of `line`.
        line: Return the COPY text of a record, given the time of receipt in UTC. It ends in a
            newline. It writes a Decimal with `!s`: an empty format gives the same text, but takes
            four times as long.
        value: Return the JSON text for Redis; None if there is nothing to show.
        symbol_column, event_column, price_column, volume_column: Names of these fields.
        trade_columns: Names of the fields that identify the trade of a snapshot: its time, price
            and volume, and a total of the volume, which grows with each trade and shrinks when a
            day ends. Empty: the feed has no snapshots.
        symbol, event_ms: Return these fields of a record.
        trade: Return what a bar needs of a record.
    """

    kind: type[T]
    columns: tuple[str, ...]
    line: Callable[[T, str], str]
    value: Callable[[T], str | None]
    symbol_column: str = "symbol"
    event_column: str = "timestamp_ms"
    price_column: str = "price"
    volume_column: str = "volume"
    trade_columns: tuple[str, ...] = ()
    symbol: Callable[[T], str] = field(init=False)
    event_ms: Callable[[T], int] = field(init=False)
    trade: Callable[[T], TradeValues] = field(init=False)

    def __post_init__(self) -> None:
        # An attrgetter is one call in C, also for several fields. A method that looks up the
        # column's name would be two.
        symbol, event_ms = self.symbol_column, self.event_column
        for name, columns in (
            ("symbol", (symbol,)),
            ("event_ms", (event_ms,)),
            ("trade", (symbol, event_ms, self.price_column, self.volume_column)),
        ):
            object.__setattr__(self, name, attrgetter(*columns))


def escape(text: str) -> str:
    """
    Return text in the format of COPY.

    Raises:
        BadRecord: If it contains a NUL or half a surrogate pair, which Postgres cannot store.
    """
    if text.isprintable() and "\\" not in text:
        return text
    if "\x00" in text or any("\ud800" <= character <= "\udfff" for character in text):
        raise BadRecord("text that Postgres cannot store", reason=Reason.BAD_TEXT)
    return text.translate(_ESCAPES)


class _Texts(dict[str | None, str]):
    """Caches the escaped form of texts: symbols and sources repeat in most records."""

    def __missing__(self, text: str | None) -> str:
        if len(self) > CACHE_LIMIT:
            self.clear()
        self[text] = escaped = NULL if text is None else escape(text)
        return escaped


copy_text: Callable[[str | None], str] = _Texts().__getitem__
"""Return a text in the format of COPY; BadRecord as for `escape`."""

_arrays: dict[tuple[str, ...], str] = {}


def copy_array(items: list[str] | None) -> str:
    """Return a list of texts in the format of COPY."""
    if items is None:
        return NULL
    key = tuple(items)
    array = _arrays.get(key)
    if array is None:
        if len(_arrays) > CACHE_LIMIT:
            _arrays.clear()
        array = _arrays[key] = escape("{" + ",".join(map(_element, items)) + "}")
    return array


def _element(item: str) -> str:
    return '"' + item.replace("\\", "\\\\").replace('"', '\\"') + '"'


def copy_number(number: Decimal | int | None) -> str:
    """
    Return a number in the format of COPY.

    Raises:
        BadRecord: If it is infinite, NaN or longer than any market's: JSON has no NaN, and Python
            reads no integer of 5,000 digits, so one such value in Redis would stop a client.
    """
    if number is None:
        return NULL
    text = str(number)
    if len(text) > MOST_DIGITS or (type(number) is Decimal and not number.is_finite()):
        raise BadRecord("a number is out of any range", reason=Reason.BAD_NUMBER)
    return text


_json = msgspec.json.Encoder(decimal_format="number")


def json_number(number: Decimal | int | None) -> str:
    """Return a number as JSON, exact."""
    return "null" if number is None else str(number)


def json_text(text: str | None) -> str:
    """Return a text as JSON."""
    return _json.encode(text).decode()
