"""Reading values that providers write in their own ways; every function is for use in `parse`."""

from collections.abc import Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

# What providers print where they have no figure.
NO_FIGURE = frozenset(
    {"", ".", "-", "--", "None", "none", "null", "NULL", "N/A", "n/a", "NaN", "nan"}
)


def decimal(value: Any) -> Decimal | None:
    """
    Return an exact number, None for what means "no figure"; '%' and ',' are dropped.

    Raises:
        ValueError: If it is something else.
    """
    if value is None or isinstance(value, bool):
        return None
    text = str(value).strip().rstrip("%").replace(",", "")
    if text in NO_FIGURE:
        return None
    try:
        number = Decimal(text)
    except ArithmeticError as error:
        raise ValueError(f"{str(value)[:40]!r} is not a number") from error
    return number if number.is_finite() else None


def integer(value: Any) -> int | None:
    """
    Return a whole number, rounded half to even; None for what means "no figure".

    Raises:
        ValueError: If it is something else.
    """
    number = decimal(value)
    return None if number is None else int(number.to_integral_value())


def text(value: Any, limit: int | None = None) -> str | None:
    """Return trimmed text, cut to `limit` characters; None for nothing and for 'None'."""
    if value is None:
        return None
    found = str(value).strip().replace("\x00", "")
    if found in {"", "None", "null"}:
        return None
    return found if limit is None else found[:limit]


def required(value: Any, limit: int | None = None) -> str:
    """
    Return trimmed text.

    Raises:
        ValueError: If there is none.
    """
    found = text(value, limit)
    if found is None:
        raise ValueError("a required text is missing")
    return found


def upper(value: Any) -> str:
    """Return a required text in capitals, as symbols are stored."""
    return required(value).upper()


def day(value: Any) -> date | None:
    """
    Return a date from YYYY-MM-DD (a time after it is ignored); None for nothing and 0000-00-00.

    Raises:
        ValueError: If it is something else.
    """
    found = text(value)
    if found is None or found in NO_FIGURE or found.startswith("0000"):
        return None
    return date.fromisoformat(found[:10])


def instant(value: Any) -> datetime | None:
    """
    Return a moment in UTC from ISO 8601; one without a zone is UTC. None for nothing.

    Raises:
        ValueError: If it is something else.
    """
    found = text(value)
    if found is None or found in NO_FIGURE:
        return None
    moment = datetime.fromisoformat(found)
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def from_unix(value: Any) -> datetime | None:
    """Return a moment in UTC from seconds since the epoch; None for nothing and 0."""
    number = decimal(value)
    return None if not number else datetime.fromtimestamp(float(number), UTC)


def at(body: Any, *path: str | int) -> Any:
    """Return what is at a path of keys and positions, None where any step is missing."""
    for step in path:
        if isinstance(step, int):
            body = body[step] if isinstance(body, list) and len(body) > step else None
        else:
            body = body.get(step) if isinstance(body, Mapping) else None
        if body is None:
            return None
    return body
