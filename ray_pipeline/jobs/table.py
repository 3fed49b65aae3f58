"""A table is a value: its rows' type, its key, and what a second writing of a key means."""

import dataclasses
import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from operator import attrgetter
from typing import Protocol


class Row(Protocol):
    """A frozen dataclass whose fields are columns, in any order."""

    __dataclass_fields__: dict[str, dataclasses.Field[object]]


Number = Decimal | int | float


@dataclass(frozen=True, slots=True)
class Range:
    """A column whose values should lie between two bounds; a finding, not a refusal."""

    column: str
    low: Number | None = None
    high: Number | None = None


@dataclass(frozen=True, slots=True)
class Table:
    """
    Where rows of one type are stored.

    Attributes:
        name: The table.
        row: The dataclass of its rows; field names are column names.
        key: The columns that say whether a row is there already: a unique constraint's.
        keep: Columns that only an insert writes: what was seen first stays.
        touched: The column that gets the time of the last change; None where there is none. A
            row that is written again unchanged is not touched.
        fill: Columns whose stored value a later NULL does not erase.
        replace: False: a key that is there already is left alone.
        own: A column that says where a row came from; a row from elsewhere is left alone.
        ranges: What the values should be.
        event: The column that says when what a row tells of happened, for tables that always go
            on: a newest event that is far older than usual is a finding. None: not checked.
        fresh: How old the newest row may be before the table counts as stale; None: by schedule.
    """

    name: str
    row: type
    key: tuple[str, ...]
    keep: tuple[str, ...] = ()
    touched: str | None = None
    fill: tuple[str, ...] = ()
    replace: bool = True
    own: str | None = None
    ranges: tuple[Range, ...] = ()
    event: str | None = None
    fresh: timedelta | None = None

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that a row gives, in the order of its fields."""
        return _columns(self.row)

    def values(self, row: object) -> tuple[object, ...]:
        """Return a row's values in the order of `columns`."""
        return _getter(self.columns)(row)

    def key_of(self, row: object) -> tuple[object, ...]:
        """Return a row's key."""
        return _getter(self.key)(row)


@functools.cache
def _columns(row: type) -> tuple[str, ...]:
    return tuple(field.name for field in dataclasses.fields(row))


@functools.cache
def _getter(names: tuple[str, ...]) -> Callable[[object], tuple[object, ...]]:
    """Return what gets these attributes of a row: it is asked for every row of a sweep."""
    if len(names) == 1:
        return lambda row: (getattr(row, names[0]),)
    return attrgetter(*names)


@dataclass(frozen=True, slots=True)
class Finding:
    """Something about stored data that a person should look at."""

    table: str
    check: str
    detail: str


def check_rows(table: Table, rows: Sequence[object]) -> Iterator[Finding]:
    """Yield what is odd about rows: keys that are empty or doubled, values out of range."""
    seen: set[tuple[object, ...]] = set()
    doubled = empty = 0
    for row in rows:
        key = table.key_of(row)
        doubled += key in seen
        empty += any(part is None or part == "" for part in key)
        seen.add(key)
    if empty:
        yield Finding(table.name, "key", f"{empty} rows with an empty part of the key")
    if doubled:
        yield Finding(table.name, "duplicate", f"{doubled} rows repeat a key of the same answer")
    for limits in table.ranges:
        outside = [
            value
            for value in (getattr(row, limits.column) for row in rows)
            if value is not None and not _inside(value, limits)
        ]
        if outside:
            yield Finding(
                table.name,
                "range",
                f"{limits.column}: {len(outside)} of {len(rows)} rows outside "
                f"[{limits.low}, {limits.high}], such as {outside[0]}",
            )


def _inside(value: object, limits: Range) -> bool:
    if not isinstance(value, Decimal | int | float) or isinstance(value, bool):
        return not isinstance(value, date | datetime)
    return (limits.low is None or value >= limits.low) and (
        limits.high is None or value <= limits.high
    )
