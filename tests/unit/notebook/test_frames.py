"""Frames have the same columns and types whatever their rows lack."""

from datetime import UTC, datetime
from decimal import Decimal

import pandas as pd
import pyarrow as pa
import pytest

from ray_pipeline.errors import PipelineError
from ray_pipeline.notebook import shapes
from ray_pipeline.notebook.frames import FrameOptions, Kind, Shape, frame

SHAPE = Shape(
    {"at": Kind.TIME, "price": Kind.NUMBER, "trades": Kind.WHOLE, "name": Kind.TEXT,
     "on": Kind.FLAG, "tags": Kind.TEXTS},
    index=("at",),
)  # fmt: skip
LONG = Decimal("0.12345678901234567890123456")
ROW = {"at": "2026-01-05T14:30:00Z", "price": LONG, "trades": 3, "name": "x", "on": True,
       "tags": ["a", "b"], "more": "left out"}  # fmt: skip


def test_pandas_has_utc_times_and_room_for_what_is_missing():
    found = frame([ROW, {"at": "2026-01-05T15:30:00+01:00"}], SHAPE, FrameOptions())
    assert list(found.columns) == ["price", "trades", "name", "on", "tags"]
    assert list(found.index) == [pd.Timestamp("2026-01-05T14:30Z")] * 2
    assert found["price"].dtype == "float64"
    assert found["trades"].dtype == "Int64"
    assert found["trades"].isna().tolist() == [False, True]


def test_no_rows_have_the_same_types():
    empty, full = frame([], SHAPE, FrameOptions()), frame([ROW], SHAPE, FrameOptions())
    assert empty.dtypes.to_dict() == full.dtypes.to_dict()
    assert empty.index.dtype == full.index.dtype
    arrow = frame([], SHAPE, FrameOptions("arrow"))
    assert arrow.schema == frame([ROW], SHAPE, FrameOptions("arrow")).schema


def test_decimals_keep_every_digit():
    assert frame([ROW], SHAPE, FrameOptions(numbers="decimal"))["price"].iloc[0] == LONG
    arrow = frame([ROW], SHAPE, FrameOptions("arrow", "decimal"))
    assert arrow["price"][0].as_py() == LONG
    assert pa.types.is_decimal(
        frame([], SHAPE, FrameOptions("arrow", "decimal")).schema.field(1).type
    )


def test_naive_times_are_utc():
    found = frame([{"at": datetime(2026, 1, 5)}], SHAPE, FrameOptions())
    assert found.index[0] == pd.Timestamp(datetime(2026, 1, 5, tzinfo=UTC))


@pytest.mark.parametrize(("form", "numbers"), [("polars", "float"), ("pandas", "int")])
def test_a_wish_that_nobody_can_grant_names_those_that_can_be(form, numbers):
    with pytest.raises(PipelineError, match=r"fix: .*="):
        FrameOptions(form, numbers)


def test_every_feed_has_a_history_whose_columns_are_known():
    from ray_pipeline.catalog import FEEDS

    for spec in FEEDS:
        shape = shapes.history(spec)
        assert next(iter(shape.columns)) == "event_time"
        assert frame([], shape, FrameOptions()).index.name == "event_time"
