"""Columns that say where their values stand."""

from dataclasses import FrozenInstanceError
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest

from ray_pipeline.errors import BadValue
from ray_pipeline.jobs.columns import (
    Json,
    column,
    column_defaults,
    declared_columns,
    left_out,
    read_row,
    required_columns,
    table_row,
)
from ray_pipeline.jobs.values import from_unix


@table_row
class Quote:
    """A column of every kind."""

    symbol: str = column("ticker")
    price: Decimal | None = column("quote", "usd")
    volume: int | None
    day: date = column("reportDate")
    at: datetime | None = column("time", read=from_unix)
    name: str | None = column("names", 0)
    currency: str = column(otherwise="USD")
    trades: int = column("stats", "trades", otherwise=0)
    is_open: bool = column("open")
    tags: list[Json]
    notes: list[Json] | None
    raw: Json = column("quote")
    batch: int
    source: str = "example"


@table_row
class Sum:
    """A column with two names."""

    total: int | None = column("Total", alias="Sum")
    unit: str | None


BODY = {
    "ticker": " AAPL ",
    "quote": {"usd": "1,234.50"},
    "volume": "7",
    "reportDate": "2026-03-02T10:00:00",
    "time": 86400,
    "names": ["Apple", "other"],
    "currency": "EUR",
    "stats": {"trades": "5"},
    "open": True,
    "tags": ["a"],
    "notes": ["b"],
}
LEAST = {"ticker": "AAPL", "reportDate": "2026-03-02"}


def test_the_annotation_selects_the_reader():
    assert read_row(Quote, BODY, batch=3) == Quote(
        symbol="AAPL", price=Decimal("1234.50"), volume=7, day=date(2026, 3, 2),
        at=datetime(1970, 1, 2, tzinfo=UTC), name="Apple", currency="EUR", trades=5, is_open=True,
        tags=["a"], notes=["b"], raw={"usd": "1,234.50"}, batch=3, source="example",
    )  # fmt: skip


def test_what_the_provider_leaves_out_is_null_or_the_columns_default():
    assert read_row(Quote, LEAST, batch=3) == Quote(
        symbol="AAPL", price=None, volume=None, day=date(2026, 3, 2), at=None, name=None,
        currency="USD", trades=0, is_open=False, tags=[], notes=None, raw=None, batch=3,
    )  # fmt: skip


def test_a_given_value_replaces_a_declared_one_and_a_constant():
    row = read_row(Quote, LEAST, batch=3, symbol="BRK.B", source="other")

    assert (row.symbol, row.source) == ("BRK.B", "other")


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"ticker": None}, ValueError, "a required text is missing"),
        ({"reportDate": ""}, ValueError, "no reportDate"),
        ({"volume": "many"}, ValueError, "'many' is not a number"),
    ],
)
def test_a_value_that_cannot_be_read_is_an_error(change, error, message):
    with pytest.raises(error, match=message):
        read_row(Quote, LEAST | change, batch=3)


@pytest.mark.parametrize("key", ["ticker", "reportDate"])
def test_an_object_without_a_required_key_is_an_error_that_names_it(key):
    body = {name: value for name, value in LEAST.items() if name != key}

    with pytest.raises(KeyError, match=key):
        read_row(Quote, body, batch=3)


def test_an_inherited_column_may_be_read_from_another_place():
    @table_row
    class OtherQuote(Quote):
        symbol: str = column("id")
        source: str = "other"

    row = read_row(OtherQuote, {"id": "X", "reportDate": "2026-03-02"}, batch=1)

    assert (row.symbol, row.source) == ("X", "other")


@pytest.mark.parametrize(
    ("body", "total"),
    [
        ({"Total": "5", "Sum": "6"}, 5),
        ({"Total": None, "Sum": "6"}, 6),
        ({"Sum": "6"}, 6),
        ({}, None),
    ],
)
def test_an_alias_is_read_if_the_key_holds_no_value(body, total):
    assert read_row(Sum, body).total == total


def test_declared_columns_are_those_with_a_place_of_their_own():
    assert [(name, one.path, one.alias) for name, one in declared_columns(Sum).items()] == [
        ("total", ("Total",), "Sum")
    ]


def test_a_row_cannot_be_changed():
    row = read_row(Quote, LEAST, batch=3)

    with pytest.raises(FrozenInstanceError):
        row.symbol = "B"


@table_row
class Fund:
    """Columns that a row requires, although their types are nullable or have a default."""

    symbol: str
    net_assets: int | None = column(required=True)
    total: int | None = column("Total", alias="Sum", required=True)
    holdings: list[Json] = column(required=True)
    tags: list
    fee: Decimal | None
    count: int = column(otherwise=0)
    active: bool
    source: str = "example"


FUND = {
    "symbol": "QQQ", "net_assets": "5", "Sum": "6", "holdings": [1], "tags": ["a"], "fee": "0.1",
    "count": 3, "active": False,
}  # fmt: skip


def test_a_row_type_names_its_required_columns():
    assert required_columns(Fund) == {"symbol", "net_assets", "total", "holdings"}
    assert required_columns(Quote) == {"symbol", "day", "batch"}


@pytest.mark.parametrize("name", ["symbol", "net_assets", "Sum", "holdings"])
@pytest.mark.parametrize("gone", [True, False])
def test_an_object_without_a_required_value_is_no_row(name, gone):
    """Whether the key is missing or holds nothing."""
    body = {key: value for key, value in FUND.items() if key != name}

    with pytest.raises((ValueError, LookupError)):
        read_row(Fund, body if gone else FUND | {name: None})


def test_a_required_list_may_be_empty():
    assert read_row(Fund, FUND | {"holdings": []}).holdings == []


def test_a_bare_list_is_not_required():
    row = read_row(Fund, {key: value for key, value in FUND.items() if key != "tags"})

    assert row.tags == []


@pytest.mark.parametrize("value", ["a", {"a": 1}, 5])
def test_a_list_column_refuses_another_type(value):
    with pytest.raises(BadValue, match="is not a list"):
        read_row(Fund, FUND | {"tags": value})


@pytest.mark.parametrize(
    ("change", "absent"),
    [
        ({}, set()),
        ({"count": None}, {"count"}),
        ({"count": "-"}, {"count"}),
        ({"count": 0, "tags": []}, set()),  # these are values
        ({"tags": None}, {"tags"}),
        ({"active": None}, {"active"}),
    ],
)
def test_a_row_remembers_which_defaults_were_not_sent(change, absent):
    row = read_row(Fund, FUND | change)

    assert left_out(row) == absent
    assert row == read_row(Fund, FUND | change)  # what is left out is no column


def test_defaults_are_those_of_columns_without_a_value():
    assert column_defaults(Fund) == {"tags": [], "count": 0, "active": False}
    assert column_defaults(Quote) == {"currency": "USD", "trades": 0, "is_open": False, "tags": []}


def test_an_inherited_row_type_remembers_too():
    @table_row
    class OtherFund(Fund):
        source: str = "other"

    assert left_out(read_row(OtherFund, FUND | {"count": None})) == {"count"}
