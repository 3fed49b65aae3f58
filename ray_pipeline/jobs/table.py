"""The vocabulary of a table: its row type, its key, and what a second write of a key changes."""

import dataclasses
import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from operator import attrgetter
from typing import Protocol, cast

from ray_pipeline.jobs.columns import left_out, required_columns


class Row(Protocol):
    """A frozen dataclass with one field for each column, in any order."""

    __dataclass_fields__: dict[str, dataclasses.Field[object]]


Number = Decimal | int | float


@dataclass(frozen=True, slots=True)
class Range:
    """The expected bounds of a column. A value outside them is stored and becomes a finding."""

    column: str
    low: Number | None = None
    high: Number | None = None


@dataclass(frozen=True, slots=True)
class Table:
    """
    A table that stores rows of one type.

    Attributes:
        name: The name of the table.
        row: The dataclass of its rows; field names are column names.
        key: The columns of the primary key or of a unique constraint.
        keep: Columns that an update does not change: the first value stays.
        touched: The column that receives the time of the last change, if the table has such a
            column. An unchanged row that is written again keeps its time.
        clears: Columns in which a later NULL replaces the stored value. Everywhere else a stored
            value stays until another one comes: providers leave out values that they still have.
        replace: Whether a row of a stored key is updated. False: the stored row stays.
        writer: A column that names the source of a row. A row of another source is not updated.
        ranges: The expected bounds of columns.
        event: The column with the time of the event that a row describes. It is set for tables
            that grow steadily: if the newest event is much older than usual, a finding says so.
        fresh: How old the newest row may be before the table counts as stale; None derives it from
            the schedule.
    """

    name: str
    row: type
    key: tuple[str, ...]
    keep: tuple[str, ...] = ()
    touched: str | None = None
    clears: tuple[str, ...] = ()
    replace: bool = True
    writer: str | None = None
    ranges: tuple[Range, ...] = ()
    event: str | None = None
    fresh: timedelta | None = None

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of a row, in the order of its fields."""
        return _columns(self.row)

    def values(self, row: object) -> tuple[object, ...]:
        """Return a row's values in the order of `columns`."""
        return _values(row)

    def key_of(self, row: object) -> tuple[object, ...]:
        """Return a row's key."""
        return _getter(self.key)(row)

    @property
    def required(self) -> frozenset[str]:
        """The columns that every row has: the key, and what the row type requires."""
        return frozenset(self.key) | required_columns(self.row)


@functools.cache
def _columns(row: type) -> tuple[str, ...]:
    return tuple(field.name for field in dataclasses.fields(row))


def _values(row: object) -> tuple[object, ...]:
    return _getter(_columns(cast(type, type(row))))(row)


@functools.cache
def _getter(names: tuple[str, ...]) -> Callable[[object], tuple[object, ...]]:
    """Return a function that reads these attributes; it is called for every row of a sweep."""
    if len(names) == 1:
        return lambda row: (getattr(row, names[0]),)
    return attrgetter(*names)


def count_values(rows: Iterable[object]) -> int:
    """
    Return how many values rows hold: the measure of the size of an answer.

    Counting values and not rows also tells a row that has lost half of its columns, and a fund that
    has lost its holdings: a list counts by its elements. Defaults do not count.
    """
    return sum(_count(row) for row in rows)


def _count(row: object) -> int:
    absent, row_type = left_out(row), cast(type, type(row))
    return sum(
        len(value) if isinstance(value, list) else int(value is not None)
        for name, value in zip(_columns(row_type), _values(row), strict=True)
        if name not in absent
    )


@dataclass(frozen=True, slots=True)
class TableFinding:
    """A peculiarity of stored data that a person should look at."""

    table: str
    check: str
    detail: str


def check_rows(table: Table, rows: Sequence[object]) -> Iterator[TableFinding]:
    """Yield findings: empty keys, repeated keys, and values outside of each range."""
    seen: set[tuple[object, ...]] = set()
    doubled = empty = 0
    for row in rows:
        key = table.key_of(row)
        doubled += key in seen
        empty += any(part is None or part == "" for part in key)
        seen.add(key)
    if empty:
        yield TableFinding(table.name, "key", f"{empty} rows with an empty part of the key")
    if doubled:
        yield TableFinding(
            table.name, "duplicate", f"{doubled} rows repeat a key of the same answer"
        )
    for limits in table.ranges:
        outside = [
            value
            for value in (getattr(row, limits.column) for row in rows)
            if value is not None and not _inside(value, limits)
        ]
        if outside:
            yield TableFinding(
                table.name,
                "range",
                f"{limits.column}: {len(outside)} of {len(rows)} rows outside "
                f"[{limits.low}, {limits.high}], such as {outside[0]}",
            )


def _inside(value: Number, limits: Range) -> bool:
    return (limits.low is None or value >= limits.low) and (
        limits.high is None or value <= limits.high
    )
