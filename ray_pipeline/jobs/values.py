"""
Convert values from the notations of providers; every function is for use in `parse`.

A reader never guesses. It returns the exact value, or raises BadValue with the beginning of the
text: "1,5" is 1.5 in one country and a misprint of 15 in another, so it is neither.
"""

import re
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from ray_pipeline.errors import BadValue

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
_ZONED = re.compile(rf"({_DAY} \d\d:\d\d:\d\d) ([A-Za-z_]+(?:/[A-Za-z_]+)*)", re.ASCII)
_US_DAY = re.compile(r"(\d\d?)/(\d\d?)/(\d\d)", re.ASCII)
_NO_DAY = "0000-00-00"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LAST_SECOND = 253_402_300_799  # of the year 9999


def decimal(value: Any) -> Decimal | None:
    """
    Return an exact number, None for a missing value.

    Raises:
        BadValue: If the value is not a number in plain or scientific notation, or with commas
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
        BadValue: If the value is not a number.
    """
    if isinstance(value, str) and _GROUPED.fullmatch(written := value.strip(SPACES)):
        return decimal(written.replace(",", ""))
    return decimal(value)


def integer(value: Any) -> int | None:
    """
    Return a whole number, rounded half to even; None for a missing value.

    Raises:
        BadValue: If the value is not a number, or does not fit into a bigint.
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
        BadValue: If it is not a whole number. A placeholder such as "-" must not become 0,
            because the row would replace a counter that is stored.
    """
    if value is None or value == "" or (value == 0 and not isinstance(value, bool)):
        return None
    return whole(value)


def whole(value: Any) -> int:
    """
    Return a whole number that is not rounded.

    Raises:
        BadValue: If the value is missing, or is not a whole number.
    """
    number = integer(value)
    if number is None or number != decimal(value):
        raise _not("a whole number", value)
    return number


def boolean(value: Any) -> bool:
    """
    Return whether a flag is set, or whether a list has elements; False for a missing value.

    Raises:
        BadValue: If the value has another type. The text "false" is not a flag: it is true in
            Python, and providers send JSON.
    """
    if value is None or isinstance(value, bool | list):
        return bool(value)
    raise _not("true or false", value)


def text(value: Any, limit: int | None = None) -> str | None:
    """
    Return trimmed text, cut to `limit` characters; None for an empty text and for 'None'. A number,
    such as an id, is a text too.

    Raises:
        BadValue: If the value is a list, an object or a flag.
    """
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, str | int | float | Decimal):
        raise _not("a text", value)
    # Half of a character of two parts, where a provider has cut the text, cannot be stored.
    string = str(value).strip().replace("\x00", "").encode(errors="replace").decode()
    if string in {"", "None", "null"}:
        return None
    return string if limit is None else string[:limit]


def required(value: Any, limit: int | None = None) -> str:
    """
    Return trimmed text.

    Raises:
        BadValue: If it is empty or missing.
    """
    string = text(value, limit)
    if string is None:
        raise BadValue("a required text is missing")
    return string


def upper(value: Any) -> str:
    """Return a required text in capitals, as symbols are stored."""
    return required(value).upper()


def day(value: Any) -> date | None:
    """
    Return the date of YYYY-MM-DD, with or without a time; None for a missing value and 0000-00-00.

    Raises:
        BadValue: If the value is not a date.
    """
    string = _written(value)
    if string is None or string in MISSING or string.split("T")[0].split(" ")[0] == _NO_DAY:
        return None
    match = _DAY_OR_MOMENT.fullmatch(string)
    if match is None:
        raise _not("a date", value)
    if string != match[1]:
        instant(string)  # refuse a date with an impossible time
    try:
        return date.fromisoformat(match[1])
    except ValueError:
        raise _not("a date", value) from None


def _written(value: Any) -> str | None:
    """Return a text; a date of the database becomes one."""
    return value.isoformat() if isinstance(value, date) else text(value)


def instant(value: Any) -> datetime | None:
    """
    Return the moment of an ISO 8601 text with a time, in UTC, which is also the default zone. None
    for a missing value.

    Raises:
        BadValue: If the value is not a moment.
    """
    string = _written(value)
    if string is None or string in MISSING:
        return None
    if not _MOMENT.fullmatch(string):
        raise _not("a time", value)
    try:
        moment = datetime.fromisoformat(string)
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        raise _not("a time", value) from None


def zoned_instant(value: Any) -> datetime:
    """
    Return the moment of a local time with the name of its zone: 2026-05-15 16:16:00 US/Eastern.

    Raises:
        BadValue: If the value has another form, or the zone does not exist.
    """
    match = _ZONED.fullmatch(required(value))
    if match is None:
        raise _not("a time with a zone", value)
    try:
        local = datetime.fromisoformat(match[1]).replace(tzinfo=ZoneInfo(match[2]))
        return local.astimezone(UTC)
    except (ValueError, OverflowError, ZoneInfoNotFoundError):
        raise _not("a time with a zone", value) from None


def us_day(value: Any) -> date | None:
    """
    Return the date of MM/DD/YY in this century, or of YYYY-MM-DD; None for a missing value.

    Raises:
        BadValue: If the value is not a date.
    """
    match = _US_DAY.fullmatch(text(value) or "")
    if match is None:
        return day(value)
    month, of_month, year = map(int, match.groups())
    try:
        return date(2000 + year, month, of_month)
    except ValueError:
        raise _not("a date", value) from None


def from_unix(value: Any) -> datetime | None:
    """
    Return the moment of seconds since the epoch, in UTC; None for a missing value and 0.

    Raises:
        BadValue: If the value is not a number, or lies outside the calendar, as milliseconds do.
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


def _not(kind: str, value: object) -> BadValue:
    """Return the error for a value that is not of a kind. It quotes the beginning of the value."""
    if isinstance(value, int) and value.bit_length() > 4 * SHOWN:
        return BadValue(f"a number of {value.bit_length()} bits is not {kind}")
    written = value if isinstance(value, str) else str(value)
    return BadValue(f"{written[:SHOWN]!r} is not {kind}")


def elements(value: Any) -> list[Any]:
    """
    Return a list; an empty one for a missing value.

    Raises:
        BadValue: If the value is not a list. A text or an object has elements too, which are not
            those of a list.
    """
    if value is None:
        return []
    if not isinstance(value, list):
        raise _not("a list", value)
    return value


def at(body: Any, *path: str | int) -> Any:
    """
    Return the value at a path of keys and positions, None if a step is missing.

    Raises:
        BadValue: If a step leads into a value that is neither missing nor a list or an object.
    """
    for step in path:
        if isinstance(step, int):
            body = body[step] if len(elements(body)) > step else None
        elif isinstance(body, Mapping):
            body = body.get(step)
        elif body:
            raise _not("an object", body)
        else:  # providers write an empty list, or false, in place of an empty object
            body = None
        if body is None:
            return None
    return body
