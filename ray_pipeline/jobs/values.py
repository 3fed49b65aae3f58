"""Convert values from the notations of providers; every function is for use in `parse`."""

from collections.abc import Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

# What providers write instead of a missing value.
MISSING = frozenset(
    {"", ".", "-", "--", "None", "none", "null", "NULL", "N/A", "n/a", "NaN", "nan"}
)


def decimal(value: Any) -> Decimal | None:
    """
    Return an exact number, None for a missing value. '%' and ',' are removed.

    Raises:
        ValueError: If the value is not a number.
    """
    if value is None or isinstance(value, bool):
        return None
    text = str(value).strip().rstrip("%").replace(",", "")
    if text in MISSING:
        return None
    try:
        number = Decimal(text)
    except ArithmeticError as error:
        raise ValueError(f"{str(value)[:40]!r} is not a number") from error
    return number if number.is_finite() else None


def integer(value: Any) -> int | None:
    """
    Return a whole number, rounded half to even; None for a missing value.

    Raises:
        ValueError: If the value is not a number.
    """
    number = decimal(value)
    return None if number is None else int(number.to_integral_value())


def count(value: Any) -> int | None:
    """
    Return a counter, None if the provider sends none.

    Raises:
        ValueError: If it is not a number. A placeholder such as "-" must not become 0, because the
            row would replace a counter that is stored.
    """
    return int(value) if value else None


def text(value: Any, limit: int | None = None) -> str | None:
    """Return trimmed text, cut to `limit` characters; None for an empty text and for 'None'."""
    if value is None:
        return None
    string = str(value).strip().replace("\x00", "")
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
    if string is None or string in MISSING or string.startswith("0000"):
        return None
    return date.fromisoformat(string[:10])


def instant(value: Any) -> datetime | None:
    """
    Return the moment of an ISO 8601 text, in UTC, which is also the default zone. None for a
    missing value.

    Raises:
        ValueError: If the value is not a moment.
    """
    string = text(value)
    if string is None or string in MISSING:
        return None
    moment = datetime.fromisoformat(string)
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def from_unix(value: Any) -> datetime | None:
    """Return the moment of seconds since the epoch, in UTC; None for a missing value and 0."""
    number = decimal(value)
    return None if not number else datetime.fromtimestamp(float(number), UTC)


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
