"""Rows as DataFrames or Arrow tables: the same columns and types, however few rows there are."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import Enum
from typing import Any, Literal, TypeAlias

import pandas as pd
import pyarrow as pa

from ray_pipeline.errors import PipelineError
from ray_pipeline.timestamps import in_utc

Frame: TypeAlias = pd.DataFrame | pa.Table
Form = Literal["pandas", "arrow"]
Numbers = Literal["float", "decimal"]
Row = Mapping[str, Any]

NO_DECIMALS = pa.decimal128(38, 9)  # of a column that has no number to take a precision from


class Kind(Enum):
    """What a column holds."""

    TIME = "time"  # UTC
    NUMBER = "number"  # exact: float or Decimal, as is asked for
    FLOAT = "float"
    WHOLE = "whole"
    TEXT = "text"
    FLAG = "flag"
    TEXTS = "texts"


@dataclass(frozen=True, slots=True)
class Shape:
    """
    The columns of a frame.

    Attributes:
        columns: What each holds, in order.
        index: Which of them a DataFrame has as its index; Arrow has no index.
    """

    columns: Mapping[str, Kind]
    index: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Look:
    """How somebody wants to see frames."""

    form: Form = "pandas"
    numbers: Numbers = "float"

    def __post_init__(self) -> None:
        if self.form not in ("pandas", "arrow"):
            raise PipelineError(f"no such form: {self.form!r}", fix='as_="pandas" or as_="arrow"')
        if self.numbers not in ("float", "decimal"):
            raise PipelineError(
                f"no such numbers: {self.numbers!r}", fix='numbers="float" or numbers="decimal"'
            )


def frame(rows: Iterable[Row], shape: Shape, look: Look) -> Frame:
    """Return rows as a frame; what a row lacks is missing there, what it has more is left out."""
    rows = list(rows)
    values = {
        name: [_value(row.get(name), kind, look) for row in rows]
        for name, kind in shape.columns.items()
    }
    return _arrow(values, shape, look) if look.form == "arrow" else _pandas(values, shape, look)


def _value(value: Any, kind: Kind, look: Look) -> Any:
    """Return a value as its column has it, be it from Postgres or from JSON."""
    if value is None:
        return None
    match kind:
        case Kind.TIME:
            return _time(value)
        case Kind.NUMBER:
            return Decimal(value) if look.numbers == "decimal" else float(value)
        case Kind.FLOAT:
            return float(value)
        case Kind.TEXTS:
            return [str(one) for one in value]
        case _:
            return value


def _time(value: datetime | str) -> datetime:
    return in_utc(datetime.fromisoformat(value) if isinstance(value, str) else value)


PANDAS: Mapping[Kind, str] = {
    Kind.TIME: "datetime64[us, UTC]",
    Kind.NUMBER: "float64",
    Kind.FLOAT: "float64",
    Kind.WHOLE: "Int64",
    Kind.TEXT: "str",
    Kind.FLAG: "boolean",
    Kind.TEXTS: "object",
}
ARROW: Mapping[Kind, pa.DataType] = {
    Kind.TIME: pa.timestamp("us", tz="UTC"),
    Kind.NUMBER: pa.float64(),
    Kind.FLOAT: pa.float64(),
    Kind.WHOLE: pa.int64(),
    Kind.TEXT: pa.string(),
    Kind.FLAG: pa.bool_(),
    Kind.TEXTS: pa.list_(pa.string()),
}


def _pandas(values: Mapping[str, Sequence[Any]], shape: Shape, look: Look) -> pd.DataFrame:
    exact = look.numbers == "decimal"
    series = {
        name: pd.Series(
            values[name],
            dtype="object" if exact and kind is Kind.NUMBER else PANDAS[kind],
        )
        for name, kind in shape.columns.items()
    }
    return pd.DataFrame(series).set_index(list(shape.index))


def _arrow(values: Mapping[str, Sequence[Any]], shape: Shape, look: Look) -> pa.Table:
    exact = look.numbers == "decimal"
    arrays = {
        name: _decimals(values[name])
        if exact and kind is Kind.NUMBER
        else pa.array(values[name], ARROW[kind])
        for name, kind in shape.columns.items()
    }
    return pa.table(arrays)


def _decimals(values: Sequence[Decimal | None]) -> pa.Array:
    """Return exact numbers, in as many digits as the longest of them needs."""
    known = any(value is not None for value in values)
    return pa.array(values) if known else pa.array(values, NO_DECIMALS)
