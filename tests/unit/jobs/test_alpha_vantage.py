"""CSV answers: a line counts only if each of its cells has a column."""

import csv

import pytest

from ray_pipeline.errors import BadValue
from ray_pipeline.jobs._alpha_vantage import each_csv_row
from ray_pipeline.jobs.spec import Unparsed

COLUMNS = {"symbol", "name"}


def rows(body: str) -> list[object]:
    return list(each_csv_row(body, COLUMNS, lambda row: (dict(row),)))


def test_a_line_is_read_by_the_names_of_the_header():
    assert rows('name,symbol\r\n"A, Inc",A\r\n\r\nB,B\r\n') == [
        {"name": "A, Inc", "symbol": "A"},
        {"name": "B", "symbol": "B"},
    ]


@pytest.mark.parametrize(("line", "cells"), [("B", 1), ("A, Inc,A", 3)])
def test_a_line_with_more_or_fewer_cells_costs_no_other(line, cells):
    """A comma without quotes shifts the values behind it."""
    bad, good = rows(f"symbol,name\n{line}\nC,C\n")

    assert isinstance(bad, Unparsed)
    assert bad.detail == f"{cells} cells in place of 2"
    assert good == {"symbol": "C", "name": "C"}


@pytest.mark.parametrize("body", ["", "symbol\nA\n", "symbol,name,name\nA,a,b\n"])
def test_another_header_is_an_error(body):
    with pytest.raises(BadValue, match="the header"):
        rows(body)


def test_a_quote_that_is_not_closed_is_an_error():
    """It would make the other lines one cell."""
    with pytest.raises(csv.Error):
        rows('symbol,name\nA,"a\nB,b\n')
