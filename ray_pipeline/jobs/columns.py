"""
Declare a table's columns once: name, type, and where a provider's object holds the value.

    @table_row
    class Quote:
        symbol: str = column("ticker")              # the key "ticker"; required by its type
        shares: int | None = column("shares", required=True)  # required, although nullable
        market_cap: int | None = column("MarketCap")
        usd: Decimal | None = column("price", "usd")  # nested: {"price": {"usd": "1.5"}}
        volume: int | None                          # the key "volume", as the field is named
        currency: str = column("currency", otherwise="USD")
        source: str = "example"                     # a constant, which is never read

    row = read_row(Quote, {"ticker": "A", "MarketCap": "1", ...})

An object without a required value does not become a row. A value that the provider leaves out is
NULL, or the column's default. Both are stored with a new row only; a stored value stays.
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

from ray_pipeline.errors import BadValue
from ray_pipeline.jobs.values import (
    at,
    boolean,
    day,
    decimal,
    elements,
    instant,
    integer,
    required,
    text,
)

T = TypeVar("T")
Json = Any
Reader = Callable[[Json], object]
Step = str | int

METADATA_KEY = "column"


def _list(value: Json) -> list[Json] | None:
    return elements(value) or None


# How a value of a type is read, unless the column names a reader of its own.
READERS: dict[object, Reader] = {
    Decimal: decimal,
    int: integer,
    str: text,
    date: day,
    datetime: instant,
    bool: lambda value: None if value is None else boolean(value),
    list: _list,
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
        required: Whether an object without the value is an error. A column of a type that is not
            nullable is required in any case, unless it has a default.
    """

    path: tuple[Step, ...] = ()
    read: Reader | None = None
    otherwise: object = None
    alias: str | None = None
    required: bool = False


def column(
    *path: Step,
    read: Reader | None = None,
    otherwise: object = None,
    alias: str | None = None,
    required: bool = False,
) -> Any:
    """Declare where a field's value stands; see `Column` for the arguments."""
    declared = Column(path, read, otherwise, alias, required)
    return dataclasses.field(metadata={METADATA_KEY: declared})


def declared_columns(row: type) -> dict[str, Column]:
    """Return the columns of a row type that are declared with `column`, by name."""
    return {
        field.name: field.metadata[METADATA_KEY]
        for field in dataclasses.fields(row)
        if METADATA_KEY in field.metadata
    }


def required_columns(row: type) -> set[str]:
    """Return the columns without which an object does not become a row, except constants."""
    hints = typing.get_type_hints(row)
    return {
        field.name
        for field in dataclasses.fields(row)
        if field.default is dataclasses.MISSING
        and (_declared(field).required or not _is_optional(hints[field.name], _declared(field)))
    }


class _Row:
    """The place of a row's `left_out`, which is not a column."""

    __slots__ = ("left_out",)


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(column,))
def table_row(row: type[T]) -> type[T]:
    """Make a class a frozen dataclass of keyword-only fields, one for each column."""
    if not issubclass(row, _Row):
        # `dataclass` makes slots of columns only, so another slot has to come from a base class.
        implicit = {"__dict__", "__weakref__"}
        body = {name: value for name, value in vars(row).items() if name not in implicit}
        bases = (base for base in row.__bases__ if base is not object)
        row = type(row.__name__, (_Row, *bases), body)
    return dataclass(frozen=True, slots=True, kw_only=True)(row)


def left_out(row: object) -> frozenset[str]:
    """Return the columns of a row that hold a default because the provider sent no value."""
    return getattr(row, "left_out", frozenset())


def read_row(row: type[T], body: Json, **given: object) -> T:
    """
    Build a row from a provider's object and from the values that the caller gives.

    A field takes the given value, else its constant, else what `body` holds at its path.

    Raises:
        LookupError: If the object lacks the key of a required column.
        BadValue, TypeError: If a value has another form, or a required one is empty.
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
    absent: list[str] = []
    for name, get, read, default in plan.defaulted:
        sent = get(body)
        value = read(sent)
        if value is None:
            value = default
            if sent not in ([], 0):  # an empty list and a count of 0 are values
                absent.append(name)
        values[name] = value
    built = row(**values)
    if absent:
        object.__setattr__(built, "left_out", frozenset(absent))
    return built


@dataclass(frozen=True, slots=True)
class RowPlan:
    """
    How the columns of a row type are read: the field, its place, and the reader.

    Attributes:
        required: By a key that the object must have.
        optional: By a key that the object may lack.
        nested: By a path, or by a key with an alias.
        defaulted: By a path, each with the value of a row whose object holds none.
    """

    required: tuple[tuple[str, str, Reader], ...]
    optional: tuple[tuple[str, str, Reader], ...]
    nested: tuple[tuple[str, Callable[[Json], Json], Reader], ...]
    defaulted: tuple[tuple[str, Callable[[Json], Json], Reader, object], ...]


@functools.cache
def column_defaults(row: type) -> dict[str, object]:
    """Return the columns that hold a default if the provider sends no value, with the default."""
    hints = typing.get_type_hints(row)
    defaults = {
        field.name: _default(hints[field.name], _declared(field))
        for field in dataclasses.fields(row)
        if field.default is dataclasses.MISSING
    }
    return {name: default for name, default in defaults.items() if default is not None}


@functools.cache
def _plan(row: type, given: tuple[str, ...]) -> RowPlan:
    # Type hints are resolved once per row type and tuple of given names, not once per row: a sweep
    # reads thousands of rows of one type.
    hints = typing.get_type_hints(row)
    required_keys: list[tuple[str, str, Reader]] = []
    optional_keys: list[tuple[str, str, Reader]] = []
    nested: list[tuple[str, Callable[[Json], Json], Reader]] = []
    defaulted: list[tuple[str, Callable[[Json], Json], Reader, object]] = []
    for field in dataclasses.fields(row):
        if field.name in given or field.default is not dataclasses.MISSING:
            continue
        declared, hint = _declared(field), hints[field.name]
        path = declared.path or (field.name,)
        optional, default = _is_optional(hint, declared), _default(hint, declared)
        read = _reader(hint, declared, path[-1])
        get = functools.partial(_get, path, optional=optional)
        if default is not None:
            defaulted.append((field.name, get, read, default))
        elif declared.alias is not None:
            nested.append((field.name, functools.partial(_either, path, declared.alias), read))
        elif len(path) == 1 and isinstance(path[0], str):
            keys = optional_keys if optional else required_keys
            keys.append((field.name, path[0], read))
        else:
            nested.append((field.name, get, read))
    return RowPlan(tuple(required_keys), tuple(optional_keys), tuple(nested), tuple(defaulted))


def _declared(field: dataclasses.Field[Any]) -> Column:
    declared: Column = field.metadata.get(METADATA_KEY, Column())
    return declared


def _get(path: tuple[Step, ...], body: Json, *, optional: bool) -> Json:
    if optional:
        return at(body, *path)
    for step in path:  # a missing key of a required column is an error that names the key
        body = body[step]
    return body


def _either(path: tuple[Step, ...], alias: str, body: Json) -> Json:
    value = at(body, *path)
    return at(body, alias) if value is None else value


def _is_optional(hint: object, declared: Column) -> bool:
    """Return whether an object without the value is still a row."""
    if declared.required:
        return False
    kind, nullable = _kind(hint)
    return nullable or kind is Any or _default(hint, declared) is not None


def _default(hint: object, declared: Column) -> object:
    """Return what a row holds if its object has no value; None for NULL or for an error."""
    kind, nullable = _kind(hint)
    if declared.otherwise is not None or nullable or declared.required:
        return declared.otherwise
    if kind is bool:
        return False
    return [] if _is_list(kind) else None


def _is_list(kind: object) -> bool:
    return (typing.get_origin(kind) or kind) is list


def _reader(hint: object, declared: Column, key: Step) -> Reader:
    """Return what converts a column's value; it refuses an empty one if the column is required."""
    kind, _ = _kind(hint)
    read = declared.read or READERS[typing.get_origin(kind) or kind]
    if _is_optional(hint, declared):
        return read
    if _is_list(kind):
        return lambda value: _required_list(read, value, key)
    if read is text:
        return required

    def read_required(value: Json) -> object:
        converted = read(value)
        if converted is None:
            raise BadValue(f"no {key}")
        return converted

    return read_required


def _required_list(read: Reader, value: Json, key: Step) -> object:
    if value is None:
        raise BadValue(f"no {key}")
    return read(value) or []


def _kind(hint: object) -> tuple[object, bool]:
    """Return the type of a column's values, and whether the column is nullable."""
    if isinstance(hint, types.UnionType):
        (kind,) = (part for part in hint.__args__ if part is not types.NoneType)
        return kind, True
    return hint, False
