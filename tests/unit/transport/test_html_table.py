"""Cells that cover several rows or columns move no value into another column."""

import pytest

from ray_pipeline.transport.html_table import table

COLUMNS = ("A", "B")
HEADER = "<tr><th>A</th><th>B</th><th>C</th></tr>"


def rows(*lines: str, header: str = HEADER) -> list[dict[str, str]] | None:
    """Return the table with these lines; | separates the cells, which may begin with attributes."""
    body = "".join(f"<tr>{''.join(map(cell, line.split('|')))}</tr>" for line in lines)
    return table(f"<table>{header}{body}</table>", COLUMNS)


def cell(written: str) -> str:
    attributes, _, text = written.rpartition(">")
    return f"<td {attributes}>{text}</td>"


def test_a_cell_that_covers_rows_is_the_value_of_each():
    assert rows("rowspan=2>1|2|3", "4|5", "6|7|8") == [
        {"A": "1", "B": "2", "C": "3"},
        {"A": "1", "B": "4", "C": "5"},
        {"A": "6", "B": "7", "C": "8"},
    ]


def test_a_cell_that_covers_columns_is_the_value_of_the_first():
    assert rows("colspan=3>a note", "1|colspan=2>2") == [{"A": "a note"}, {"A": "1", "B": "2"}]


@pytest.mark.parametrize("line", ["1|2", "1|2|3|4", "1|colspan=3>2"])
def test_a_row_with_more_or_fewer_cells_has_no_column(line):
    bad, good = rows(line, "1|2|3") or []

    assert set(bad) == {""}
    assert good == {"A": "1", "B": "2", "C": "3"}


def test_a_row_that_ends_before_a_covered_column_has_no_column():
    assert [set(row) for row in rows("1|2|rowspan=2>3", "4") or []] == [{"A", "B", "C"}, {""}]


def test_a_table_inside_of_a_cell_adds_no_rows():
    inner = "<table><tr><td>x</td></tr></table>"
    row = f"<tr><td>1{inner}</td><td>2</td><td>3</td></tr>"

    assert table(f"<table>{HEADER}{row}</table>", COLUMNS) == [{"A": "1 x", "B": "2", "C": "3"}]


@pytest.mark.parametrize(
    "header",
    ["<tr><th>A</th></tr>", "<tr><th>A</th><th>B</th><th>B</th></tr>",
     "<tr><th colspan=2>A</th><th>C</th></tr>"],
)  # fmt: skip
def test_a_table_without_each_column_once_is_another_table(header):
    assert rows("1|2|3", header=header) is None


@pytest.mark.parametrize("span", ["0", "x", "-1", "\u0662", "9" * 5000, ""])
def test_no_span_makes_an_error_or_a_large_row(span):
    bad = rows(f"colspan={span}>1|2|3") or []

    assert len(bad) == 1
