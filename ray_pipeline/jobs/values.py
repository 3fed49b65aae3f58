"""
Convert values from the notations of providers; every function is for use in `parse`.

A reader never guesses. It returns the exact value, or raises ValueError with the beginning of the
text: "1,5" is 1.5 in one country and a misprint of 15 in another, so it is neither.
"""

import re
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

# What providers write instead of a missing value.
MISSING = frozenset(
    {"", ".", "-", "--", "None", "none", "null", "NULL", "N/A", "n/a", "NaN", "nan"}
)
# The largest double has 309 digits. A bound is necessary, because a number of a few characters,
# such as 1e30000000, takes minutes and gigabytes when it is written out.
MOST_DIGITS = 400
LARGEST_INTEGER = 2**63 - 1  # of Postgres' bigint
SHOWN = 40  # characters of a value that an error quotes
SPACES = " \t\r\n"

# Python's own constructors accept more: underscores, digits of every script, ISO weeks.
_NUMBER = re.compile(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)
# Commas that can only separate thousands: before a point, or more than one of them.
_THOUSANDS = re.compile(r"[+-]?\d{1,3}(?:(?:,\d{3})+\.\d+|(?:,\d{3}){2,})", re.ASCII)
_GROUPED = re.compile(r"[+-]?\d{1,3}(?:,\d{3})+(?:\.\d+)?", re.ASCII)
_DAY = r"\d{4}-\d\d-\d\d"
_CLOCK = r"\d\d:\d\d(?::\d\d(?:\.\d{1,9})?)?(?: ?Z|[+-]\d\d:?\d\d)?"
_DAY_OR_MOMENT = re.compile(rf"({_DAY})(?:[T ]{_CLOCK})?", re.ASCII)
_MOMENT = re.compile(rf"{_DAY}[T ]{_CLOCK}|\d{{8}}T\d{{4}}(?:\d\d)?Z?", re.ASCII)
_NO_DAY = "0000-00-00"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LAST_SECOND = 253_402_300_799  # of the year 9999


def decimal(value: Any) -> Decimal | None:
    """
    Return an exact number, None for a missing value.

    Raises:
        ValueError: If the value is not a number in plain or scientific notation, or with commas
            that can only separate thousands; or if it has more than MOST_DIGITS digits before or
            after the point when it is written out.
    """
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, str | int | float | Decimal):
        raise _not("a number", value)
    if isinstance(value, int) and value.bit_length() > 4 * MOST_DIGITS:
        raise _not("a number", value)  # `str` refuses it with an error of its own
    written = str(value).strip(SPACES)
    if written in MISSING:
        return None
    if _THOUSANDS.fullmatch(written):
        written = written.replace(",", "")
    if len(written) > 2 * MOST_DIGITS or not _NUMBER.fullmatch(written):
        raise _not("a number", value)
    try:
        number = Decimal(written)
    except ArithmeticError:  # the exponent exceeds the limits of `decimal`
        raise _not("a number", value) from None
    _, _, exponent = number.as_tuple()
    assert isinstance(exponent, int), "the pattern has no NaN"
    if number.is_zero():
        return Decimal(0)  # without a sign, and without an exponent
    if number.adjusted() >= MOST_DIGITS or -exponent > MOST_DIGITS:
        raise _not("a number", value)
    return number


def grouped_decimal(value: Any) -> Decimal | None:
    """
    Return an exact number of a provider that separates thousands by commas: "1,234" is a number.

    Raises:
        ValueError: If the value is not a number.
    """
    if isinstance(value, str) and _GROUPED.fullmatch(written := value.strip(SPACES)):
        return decimal(written.replace(",", ""))
    return decimal(value)


def integer(value: Any) -> int | None:
    """
    Return a whole number, rounded half to even; None for a missing value.

    Raises:
        ValueError: If the value is not a number, or does not fit into a bigint.
    """
    number = decimal(value)
    if number is None:
        return None
    whole = int(number.to_integral_value())
    if not -LARGEST_INTEGER <= whole <= LARGEST_INTEGER:
        raise _not("a whole number of 64 bits", value)
    return whole


def count(value: Any) -> int | None:
    """
    Return a counter, None if the provider sends none.

    Raises:
        ValueError: If it is not a whole number. A placeholder such as "-" must not become 0,
            because the row would replace a counter that is stored.
    """
    if value is None or value == "" or (value == 0 and not isinstance(value, bool)):
        return None
    number = integer(value)
    if number is None or number != decimal(value):
        raise _not("a counter", value)
    return number


def boolean(value: Any) -> bool:
    """
    Return whether a flag is set, or whether a list has elements; False for a missing value.

    Raises:
        ValueError: If the value has another type. The text "false" is not a flag: it is true in
            Python, and providers send JSON.
    """
    if value is None or isinstance(value, bool | list):
        return bool(value)
    raise _not("true or false", value)


def text(value: Any, limit: int | None = None) -> str | None:
    """Return trimmed text, cut to `limit` characters; None for an empty text and for 'None'."""
    if value is None:
        return None
    # Half of a character of two parts, where a provider has cut the text, cannot be stored.
    string = str(value).strip().replace("\x00", "").encode(errors="replace").decode()
    if string in {"", "None", "null"}:
        return None
    return string if limit is None else string[:limit]


def required(value: Any, limit: int | None = None) -> str:
    """
    Return trimmed text.

    Raises:
        ValueError: If it is empty or missing.
    """
    string = text(value, limit)
    if string is None:
        raise ValueError("a required text is missing")
    return string


def upper(value: Any) -> str:
    """Return a required text in capitals, as symbols are stored."""
    return required(value).upper()


def day(value: Any) -> date | None:
    """
    Return the date of YYYY-MM-DD, with or without a time; None for a missing value and 0000-00-00.

    Raises:
        ValueError: If the value is not a date.
    """
    string = text(value)
    if string is None or string in MISSING or string.split("T")[0].split(" ")[0] == _NO_DAY:
        return None
    match = _DAY_OR_MOMENT.fullmatch(string)
    if match is None:
        raise _not("a date", value)
    if string != match[1]:
        instant(string)  # refuse a date with an impossible time
    return date.fromisoformat(match[1])


def instant(value: Any) -> datetime | None:
    """
    Return the moment of an ISO 8601 text with a time, in UTC, which is also the default zone. None
    for a missing value.

    Raises:
        ValueError: If the value is not a moment.
    """
    string = text(value)
    if string is None or string in MISSING:
        return None
    if not _MOMENT.fullmatch(string):
        raise _not("a time", value)
    moment = datetime.fromisoformat(string)
    try:
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except OverflowError:
        raise _not("a time", value) from None


def from_unix(value: Any) -> datetime | None:
    """
    Return the moment of seconds since the epoch, in UTC; None for a missing value and 0.

    Raises:
        ValueError: If the value is not a number, or lies outside the calendar, as milliseconds do.
    """
    number = decimal(value)
    if not number:
        return None
    if abs(number) > _LAST_SECOND:
        raise _not("a time in seconds", value)
    try:
        # Not as a float: a double has no room for the microseconds of a distant time.
        return _EPOCH + timedelta(microseconds=int(number.scaleb(6)))
    except OverflowError:
        raise _not("a time in seconds", value) from None


def _not(kind: str, value: object) -> ValueError:
    """Return the error for a value that is not of a kind. It quotes the beginning of the value."""
    if isinstance(value, int) and value.bit_length() > 4 * SHOWN:
        return ValueError(f"a number of {value.bit_length()} bits is not {kind}")
    written = value if isinstance(value, str) else str(value)
    return ValueError(f"{written[:SHOWN]!r} is not {kind}")


def at(body: Any, *path: str | int) -> Any:
    """Return the value at a path of keys and positions, None if a step is missing."""
    for step in path:
        if isinstance(step, int):
            body = body[step] if isinstance(body, list) and len(body) > step else None
        else:
            body = body.get(step) if isinstance(body, Mapping) else None
        if body is None:
            return None
    return body
