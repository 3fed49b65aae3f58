"""Rows as DataFrames or Arrow tables; columns and types do not depend on the rows."""

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

EMPTY_DECIMALS = pa.decimal128(38, 9)  # for a column without a number


class Kind(Enum):
    """The type of a column: its name, its pandas dtype and its Arrow type."""

    TIME = ("time", "datetime64[us, UTC]", pa.timestamp("us", tz="UTC"))
    NUMBER = ("number", "float64", pa.float64())  # float or Decimal, by FrameOptions.numbers
    FLOAT = ("float", "float64", pa.float64())
    # pandas' own nullable types: numpy has no missing integer and no missing boolean.
    WHOLE = ("whole", "Int64", pa.int64())
    TEXT = ("text", "str", pa.string())
    FLAG = ("flag", "boolean", pa.bool_())
    TEXTS = ("texts", "object", pa.list_(pa.string()))

    def __init__(self, label: str, pandas: str, arrow: pa.DataType) -> None:
        self.label = label
        self.pandas = pandas
        self.arrow = arrow


@dataclass(frozen=True, slots=True)
class Shape:
    """
    The columns of a frame.

    Attributes:
        columns: Their types by name, in order.
        index: The columns that form the index of a DataFrame; Arrow has no index.
    """

    columns: Mapping[str, Kind]
    index: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class FrameOptions:
    """The form of the frames that a method returns."""

    form: Form = "pandas"
    numbers: Numbers = "float"

    def __post_init__(self) -> None:
        if self.form not in ("pandas", "arrow"):
            raise PipelineError(f"no such form: {self.form!r}", fix='as_="pandas" or as_="arrow"')
        if self.numbers not in ("float", "decimal"):
            raise PipelineError(
                f"no such numbers: {self.numbers!r}", fix='numbers="float" or numbers="decimal"'
            )


def frame(rows: Iterable[Row], shape: Shape, options: FrameOptions) -> Frame:
    """Return rows as a frame; a missing value is null, and other values are left out."""
    rows = list(rows)
    values = {
        name: [_value(row.get(name), kind, options) for row in rows]
        for name, kind in shape.columns.items()
    }
    build = _arrow if options.form == "arrow" else _pandas
    return build(values, shape, exact=options.numbers == "decimal")


def _value(value: Any, kind: Kind, options: FrameOptions) -> Any:
    """Convert a value from Postgres or from JSON to the type of its column."""
    if value is None:
        return None
    match kind:
        case Kind.TIME:
            return in_utc(time_of(value))
        case Kind.NUMBER:
            return Decimal(value) if options.numbers == "decimal" else float(value)
        case Kind.FLOAT:
            return float(value)
        case Kind.TEXTS:
            return [str(text) for text in value]
        case _:
            return value


def time_of(value: datetime | str) -> datetime:
    """Return a time from Postgres or from JSON."""
    return datetime.fromisoformat(value) if isinstance(value, str) else value


def _pandas(values: Mapping[str, Sequence[Any]], shape: Shape, *, exact: bool) -> pd.DataFrame:
    series = {
        name: pd.Series(
            values[name], dtype="object" if exact and kind is Kind.NUMBER else kind.pandas
        )
        for name, kind in shape.columns.items()
    }
    return pd.DataFrame(series).set_index(list(shape.index))


def _arrow(values: Mapping[str, Sequence[Any]], shape: Shape, *, exact: bool) -> pa.Table:
    arrays = {
        name: _decimals(values[name])
        if exact and kind is Kind.NUMBER
        else pa.array(values[name], kind.arrow)
        for name, kind in shape.columns.items()
    }
    return pa.table(arrays)


def _decimals(values: Sequence[Decimal | None]) -> pa.Array:
    """Return exact numbers; Arrow infers the precision that the longest of them needs."""
    empty = all(value is None for value in values)
    return pa.array(values, EMPTY_DECIMALS) if empty else pa.array(values)
