"""
Declare a table's columns once: name, type, and where a provider's object holds the value.

    @table_row
    class Quote:
        symbol: str = column("ticker")              # the key "ticker"; required
        market_cap: int | None = column("MarketCap")
        usd: Decimal | None = column("price", "usd")  # nested: {"price": {"usd": "1.5"}}
        volume: int | None                          # the key "volume", as the field is named
        currency: str = column("currency", otherwise="USD")
        source: str = "example"                     # a constant, which is never read

    row = read_row(Quote, {"ticker": "A", "MarketCap": "1", ...})
"""

import dataclasses
import functools
import types
import typing
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any, TypeVar, dataclass_transform

from ray_pipeline.jobs.values import at, boolean, day, decimal, instant, integer, required, text

T = TypeVar("T")
Json = Any
Reader = Callable[[Json], object]
Step = str | int

METADATA_KEY = "column"

# How a value of a type is read, unless the column names a reader of its own.
READERS: dict[object, Reader] = {
    Decimal: decimal,
    int: integer,
    str: text,
    date: day,
    datetime: instant,
    bool: boolean,
    list: lambda value: value or None,
    Any: lambda value: value,
}


@dataclass(frozen=True, slots=True)
class Column:
    """
    Where a column's value stands in a provider's object.

    Attributes:
        path: Keys and list positions that lead to the value; empty for the key of the field's name.
        read: Converts the value; None selects the reader of the field's type.
        otherwise: Stored if the provider sends no value; None for NULL, or for an error if the
            column is not nullable.
        alias: Another key of the value, which is read if the path holds none.
    """

    path: tuple[Step, ...] = ()
    read: Reader | None = None
    otherwise: object = None
    alias: str | None = None


def column(
    *path: Step, read: Reader | None = None, otherwise: object = None, alias: str | None = None
) -> Any:
    """Declare where a field's value stands; see `Column` for the arguments."""
    return dataclasses.field(metadata={METADATA_KEY: Column(path, read, otherwise, alias)})


def declared_columns(row: type) -> dict[str, Column]:
    """Return the columns of a row type that are declared with `column`, by name."""
    return {
        field.name: field.metadata[METADATA_KEY]
        for field in dataclasses.fields(row)
        if METADATA_KEY in field.metadata
    }


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(column,))
def table_row(row: type[T]) -> type[T]:
    """Make a class a frozen dataclass of keyword-only fields, one for each column."""
    return dataclass(frozen=True, slots=True, kw_only=True)(row)


def read_row(row: type[T], body: Json, **given: object) -> T:
    """
    Build a row from a provider's object and from the values that the caller gives.

    A field takes the given value, else its constant, else what `body` holds at its path.

    Raises:
        LookupError: If the object lacks the key of a required column.
        ValueError: If a value has another form, or a required one is empty.
    """
    row_type: type = row
    plan = _plan(row_type, tuple(given))
    # Most columns are one key of the object. They are read here without another function call,
    # which makes wide tables twice as fast.
    values = given
    for name, key, read in plan.required:
        values[name] = read(body[key])
    for name, key, read in plan.optional:
        values[name] = read(body.get(key))
    for name, get, read in plan.nested:
        values[name] = read(get(body))
    return row(**values)


@dataclass(frozen=True, slots=True)
class RowPlan:
    """
    How the columns of a row type are read: the field, its place, and the reader.

    Attributes:
        required: By a key that the object must have.
        optional: By a key that the object may lack.
        nested: By a path, or by a key with an alias.
    """

    required: tuple[tuple[str, str, Reader], ...]
    optional: tuple[tuple[str, str, Reader], ...]
    nested: tuple[tuple[str, Callable[[Json], Json], Reader], ...]


@functools.cache
def _plan(row: type, given: tuple[str, ...]) -> RowPlan:
    # Type hints are resolved once per row type and tuple of given names, not once per row: a sweep
    # reads thousands of rows of one type.
    hints = typing.get_type_hints(row)
    required_keys: list[tuple[str, str, Reader]] = []
    optional_keys: list[tuple[str, str, Reader]] = []
    nested: list[tuple[str, Callable[[Json], Json], Reader]] = []
    for field in dataclasses.fields(row):
        if field.name in given or field.default is not dataclasses.MISSING:
            continue
        declared: Column = field.metadata.get(METADATA_KEY, Column())
        path = declared.path or (field.name,)
        read, optional = _reader(hints[field.name], declared, path[-1])
        if declared.alias is not None:
            nested.append((field.name, functools.partial(_either, path, declared.alias), read))
        elif len(path) == 1 and isinstance(path[0], str):
            keys = optional_keys if optional else required_keys
            keys.append((field.name, path[0], read))
        else:
            nested.append((field.name, functools.partial(_get, path, optional=optional), read))
    return RowPlan(tuple(required_keys), tuple(optional_keys), tuple(nested))


def _get(path: tuple[Step, ...], body: Json, *, optional: bool) -> Json:
    if optional:
        return at(body, *path)
    for step in path:  # a missing key of a required column is an error that names the key
        body = body[step]
    return body


def _either(path: tuple[Step, ...], alias: str, body: Json) -> Json:
    value = at(body, *path)
    return at(body, alias) if value is None else value


def _reader(hint: object, declared: Column, key: Step) -> tuple[Reader, bool]:
    """Return what converts a column's value, and whether the object may lack it."""
    kind, nullable = _kind(hint)
    read = declared.read or READERS[typing.get_origin(kind) or kind]
    if declared.otherwise is not None:
        otherwise = declared.otherwise

        def read_or_default(value: Json) -> object:
            converted = read(value)
            return otherwise if converted is None else converted

        return read_or_default, True
    if nullable or kind in {bool, Any}:
        return read, True
    if typing.get_origin(kind) is list:
        return lambda value: read(value) or [], True
    if read is text:
        return required, False

    def read_required(value: Json) -> object:
        converted = read(value)
        if converted is None:
            raise ValueError(f"no {key}")
        return converted

    return read_required, False


def _kind(hint: object) -> tuple[object, bool]:
    """Return the type of a column's values, and whether the column is nullable."""
    if isinstance(hint, types.UnionType):
        (kind,) = (part for part in hint.__args__ if part is not types.NoneType)
        return kind, True
    return hint, False
