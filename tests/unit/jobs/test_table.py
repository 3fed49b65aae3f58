"""Tables: columns, keys, and what checks find in rows."""

from dataclasses import dataclass
from datetime import date
from decimal import Decimal

import pytest

from ray_pipeline.jobs.columns import column, read_row, table_row
from ray_pipeline.jobs.table import Range, Table, check_rows, count_values


@dataclass(frozen=True, slots=True)
class Quote:
    """A row of the tests."""

    symbol: str | None
    day: date
    price: Decimal | None


DAY = date(2026, 3, 2)
BY_DAY = Table("quotes", Quote, key=("symbol", "day"), ranges=(Range("price", 0, 100),))
BY_SYMBOL = Table("quotes", Quote, key=("symbol",))


def quote(symbol: str | None = "A", price: object = Decimal(5)) -> Quote:
    return Quote(symbol, DAY, price)


def checks(*rows: Quote) -> list[tuple[str, str]]:
    return [(finding.check, finding.detail) for finding in check_rows(BY_DAY, rows)]


def test_values_and_keys_have_the_order_of_the_columns():
    assert BY_DAY.columns == ("symbol", "day", "price")
    assert BY_DAY.values(quote()) == ("A", DAY, Decimal(5))
    assert BY_DAY.key_of(quote()) == ("A", DAY)
    assert BY_SYMBOL.key_of(quote()) == ("A",)


def test_ordinary_rows_have_no_finding():
    assert checks(quote("A"), quote("B", None), quote("C", Decimal(100))) == []


@pytest.mark.parametrize("symbol", ["", None])
def test_an_empty_part_of_a_key_is_found(symbol):
    assert checks(quote(symbol)) == [("key", "1 rows with an empty part of the key")]


def test_a_repeated_key_is_found():
    assert checks(quote(), quote(), quote()) == [
        ("duplicate", "2 rows repeat a key of the same answer")
    ]


@pytest.mark.parametrize("price", [Decimal(-1), Decimal("100.01"), 101])
def test_a_value_outside_its_range_is_found_with_an_example(price):
    assert checks(quote("A"), quote("B", price)) == [
        ("range", f"price: 1 of 2 rows outside [0, 100], such as {price}")
    ]


def test_a_range_may_have_one_bound():
    table = Table("quotes", Quote, key=("symbol",), ranges=(Range("price", 0),))

    assert list(check_rows(table, [quote(price=Decimal(10**9))])) == []
    assert len(list(check_rows(table, [quote(price=Decimal(-1))]))) == 1


@table_row
class Fund:
    """A row with a list and a default."""

    symbol: str
    price: Decimal | None
    holdings: list[str]
    trades: int = column(otherwise=0)


@pytest.mark.parametrize(
    ("body", "count"),
    [
        ({"symbol": "A", "price": "1", "holdings": ["a", "b", "c"], "trades": 0}, 6),
        ({"symbol": "A", "price": "1", "holdings": ["a"], "trades": 0}, 4),
        ({"symbol": "A", "holdings": ["a"], "trades": 0}, 3),
        ({"symbol": "A", "holdings": []}, 1),  # a default that was not sent is no value
    ],
)
def test_the_size_of_an_answer_counts_values_and_the_elements_of_lists(body, count):
    rows = [read_row(Fund, body), read_row(Fund, body)]

    assert count_values(rows) == 2 * count


def test_rows_of_any_dataclass_are_counted():
    assert count_values([quote(), quote(price=None)]) == 5


def test_a_table_requires_its_key_and_what_its_rows_require():
    assert BY_DAY.required == {"symbol", "day"}
    assert Table("funds", Fund, key=("symbol",)).required == {"symbol"}
