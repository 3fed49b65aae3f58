"""The members of the S&P 500, from both sources."""

import csv
import html
import json
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from ray_pipeline.batch.responses import ParsedAnswer, read
from ray_pipeline.jobs import sp500_companies
from ray_pipeline.jobs._listing import Listing
from ray_pipeline.jobs.spec import Request, Run
from ray_pipeline.providers.refusals import Answer
from tests.support import PAYLOADS

SLOT = datetime(2026, 9, 7, 6, tzinfo=UTC)
FMP, WIKIPEDIA = sp500_companies.SPEC.sources
recorded = pytest.mark.skipif(
    not PAYLOADS.is_dir(), reason="no recorded payloads beside this checkout"
)


def reading(source: object, text: str) -> ParsedAnswer:
    """Read an answer as a run would."""
    run = Run("sp500_companies", SLOT, SLOT)
    found = read(source, Answer(200, {}, text, SLOT), Request("", "/"), run)  # type: ignore[arg-type]
    assert isinstance(found, ParsedAnswer), found
    return found


def constituents(name: str = "constituents.csv") -> list[dict[str, str]]:
    with (PAYLOADS / "sp500" / name).open(newline="") as file:
        return list(csv.DictReader(file))


def page(rows: list[dict[str, str]]) -> str:
    """Return rows as the page has them: another table first, links and footnotes in cells."""
    header = "".join(f"<th><a href='#'>{name}</a>\n</th>" for name in rows[0])
    lines = "".join(
        "<tr>" + "".join(f"<td><a>{html.escape(v)}</a><sup>[1]</sup>\n</td>" for v in row.values())
        + "</tr>"
        for row in rows
    )  # fmt: skip
    return (
        "<!DOCTYPE html><html><body><table><tr><th>Symbol</th></tr><tr><td>no</td></tr></table>"
        f"<table class='wikitable sortable'><tbody><tr>{header}</tr>{lines}</tbody></table>"
        "</body></html>"
    )


@recorded
def test_the_pages_table_is_read_by_the_names_of_its_columns():
    """F-28: dates are there, and the CIK has its zeros."""
    rows = constituents()

    *members, listed = reading(WIKIPEDIA, page(rows)).rows

    assert len(members) == len(rows) == 503
    for member, row in zip(members, rows, strict=True):
        assert member.symbol == row["Symbol"]
        assert member.company_name == row["Security"]
        assert member.gics_sub_industry == row["GICS Sub-Industry"]
        assert member.headquarters == " ".join(row["Headquarters Location"].split())
        assert member.date_added == date.fromisoformat(row["Date added"])
        assert member.cik == f"{int(row['CIK']):010}"
        assert member.founded == row["Founded"]
        assert (member.is_member, member.removed_at) == (True, None)
    assert members[0].cik == "0000066740"
    assert listed == Listing("sp500_companies", SLOT, sorted(row["Symbol"] for row in rows))


@recorded
def test_columns_in_another_order_change_nothing():
    """And the older name of a column is known."""
    rows = constituents()
    turned = [
        {
            ("Date first added" if name == "Date added" else name): row[name]
            for name in reversed(row)
        }
        for row in rows
    ]

    assert reading(WIKIPEDIA, page(turned)).rows == reading(WIKIPEDIA, page(rows)).rows


@recorded
def test_half_a_list_is_not_believed():
    """Nobody leaves because a page was short."""
    found = reading(WIKIPEDIA, page(constituents()[:250]))

    assert found.rows == ()
    assert "250 members" in found.bad[0].detail


@recorded
def test_a_member_that_cannot_be_read_costs_no_other_and_does_not_leave():
    """Without a whole list nobody is marked as gone."""
    rows = constituents()
    rows[7]["CIK"] = "unknown"

    found = reading(WIKIPEDIA, page(rows))

    assert len(found.rows) == 502
    assert not any(isinstance(row, Listing) for row in found.rows)
    assert found.bad[0].raw["Symbol"] == rows[7]["Symbol"]


def test_a_page_without_the_table_is_refused():
    """Rather than read as an index without members."""
    found = reading(WIKIPEDIA, "<html><table><tr><th>Name</th></tr></table></html>")

    assert found.rows == ()
    assert "no table" in found.bad[0].detail


def fmp_rows(*names: str) -> list[dict[str, str]]:
    folder: Path = PAYLOADS / "fmp"
    return [row for name in names for row in json.loads((folder / name).read_text())]


@recorded
def test_fmps_members():
    """Sectors in GICS's words, and a share class after a dot."""
    rows = fmp_rows("v3_sp500_constituent_rows.json", "stable_sp500_constituent_doc.json")
    filler = {"symbol": "BRK-B", "name": "Berkshire Hathaway", "cik": "1067983"}
    whole = rows + [{**filler, "symbol": f"X{n}-B"} for n in range(500 - len(rows))]

    *members, listed = reading(FMP, json.dumps(whole)).rows

    by_symbol = {member.symbol: member for member in members}
    assert len(members) == len(listed.items) == 500
    assert by_symbol["PANW"].cik == "0001327567"
    assert by_symbol["PANW"].date_added == date(2023, 6, 20)
    assert by_symbol["PANW"].source == "fmp"
    assert by_symbol["VLTO"].gics_sub_industry is None
    assert by_symbol["APO"].gics_sector == "Financials"
    assert by_symbol["X3.B"].cik == "0001067983"


@recorded
def test_four_members_are_not_the_index():
    """The recorded answer is cut: as an answer it would be refused."""
    found = reading(FMP, json.dumps(fmp_rows("v3_sp500_constituent_rows.json")))

    assert found.rows == ()
    assert "4 members" in found.bad[0].detail
