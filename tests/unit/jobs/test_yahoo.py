"""Yahoo's datasets: statements, earnings and the prices after them, owners."""

import json
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest

from ray_pipeline.batch.responses import ParsedAnswer, collected, read
from ray_pipeline.jobs import company_ownership, earnings_history, financials
from ray_pipeline.jobs._yahoo import yahoo_symbol
from ray_pipeline.jobs.company_ownership import kind_of
from ray_pipeline.jobs.spec import JobSpec, Request, Run
from ray_pipeline.providers.refusals import Answer, Refusal, Verdict
from tests.support import PAYLOADS

FOLDER = PAYLOADS / "yfinance"
SLOT = datetime(2026, 9, 6, 5, tzinfo=UTC)
MEMBERS = ({"symbol": "AAPL"}, {"symbol": "BRK.B"})
recorded = pytest.mark.skipif(
    not FOLDER.is_dir(), reason="no recorded payloads beside this checkout"
)


def run_of(spec: JobSpec, slot: datetime = SLOT) -> Run:
    return Run(spec.name, slot, slot, inputs={"members": MEMBERS})


def reading(spec: JobSpec, text: str, request: Request, slot: datetime = SLOT) -> ParsedAnswer:
    """Read an answer as a run would."""
    found = read(spec.sources[0], Answer(200, {}, text, slot), request, run_of(spec, slot))
    assert isinstance(found, ParsedAnswer), found
    return found


def test_a_class_of_shares_is_asked_for_in_yahoos_spelling():
    """BRK.B is BRK-B there, and stays BRK.B here."""
    assert yahoo_symbol("BRK.B") == "BRK-B"
    for spec in (financials.SPEC, earnings_history.SPEC, company_ownership.SPEC):
        _, request = spec.sources[0].plan(run_of(spec))
        assert request.item == "BRK.B"
        assert "BRK-B" in (request.path + request.params.get("symbol", ""))


# Statements --------------------------------------------------------------------------------------

ANNUAL = Request("AAPL", "/", facts={"period": "annual"})


def series(name: str) -> dict[str, dict[date, object]]:
    """Return a recorded file's figures, by name and date."""
    body = json.loads((FOLDER / name).read_text(), parse_float=Decimal)
    found: dict[str, dict[date, object]] = {}
    for one in body["timeseries"]["result"]:
        [kind] = one["meta"]["type"]
        found[kind.removeprefix("annual")] = {
            date.fromisoformat(point["asOfDate"]): point["reportedValue"]["raw"]
            for point in one.get(kind, ())
            if point
        }
    return found


@recorded
def test_a_balance_sheet_is_a_row_a_date():
    """Amounts are exact."""
    name = "fundamentalsTimeSeries-AAPL-balance-sheet-annual.json"
    sent = series(name)

    found = reading(financials.SPEC, (FOLDER / name).read_text(), ANNUAL)

    assert not found.bad
    sheets = [row for row in found.rows if isinstance(row, financials.BalanceSheet)]
    assert [row.fiscal_date_ending for row in sheets] == sorted(sent["TotalAssets"])
    for row in sheets:
        day = row.fiscal_date_ending
        assert row.symbol == "AAPL"
        assert row.total_assets == sent["TotalAssets"][day]
        assert row.total_liabilities == sent["TotalLiabilitiesNetMinorityInterest"][day]
        assert row.total_equity == sent["StockholdersEquity"][day]
        assert row.cash_and_equivalents == sent["CashAndCashEquivalents"][day]
        assert row.total_debt == sent["TotalDebt"][day]
        assert row.net_debt == sent["NetDebt"].get(day)
        assert row.working_capital == sent["WorkingCapital"][day]


@recorded
def test_an_income_statement_is_a_row_a_date():
    """Earnings per share have their cents."""
    name = "fundamentalsTimeSeries-AAPL-financials-annual.json"
    sent = series(name)

    found = reading(financials.SPEC, (FOLDER / name).read_text(), ANNUAL)

    assert not found.bad
    assert {type(row) for row in found.rows} == {financials.IncomeStatement}
    for row in found.rows:
        day = row.fiscal_date_ending
        assert row.total_revenue == sent["TotalRevenue"][day]
        assert row.net_income == sent["NetIncome"][day]
        assert row.ebitda == sent["EBITDA"][day]
        assert row.diluted_eps == sent["DilutedEPS"][day]
        assert str(row.basic_eps) == str(sent["BasicEPS"][day])


def test_points_that_are_missing_or_broken_cost_no_other():
    """null is a quarter without a figure, NaN likewise; a point without a date is set aside."""
    body = """{"timeseries": {"result": [
        {"meta": {"type": ["quarterlyTotalRevenue"]}, "quarterlyTotalRevenue": [null,
            {"asOfDate": "2026-03-31", "reportedValue": {"raw": 10.5}},
            {"asOfDate": "2026-06-30", "reportedValue": {"raw": NaN}},
            {"reportedValue": {"raw": 3}}]},
        {"meta": {"type": ["quarterlyFreeCashFlow"]}, "timestamp": [1]}], "error": null}}"""

    found = reading(financials.SPEC, body, next(iter(financials.plan(run_of(financials.SPEC)))))

    [row] = found.rows
    assert isinstance(row, financials.IncomeStatement)
    assert (row.fiscal_date_ending, row.total_revenue) == (date(2026, 3, 31), Decimal("10.5"))
    assert [bad.reason for bad in found.bad] == ["KeyError"]


def test_one_call_asks_for_all_three_statements():
    """In an address that a proxy lets pass."""
    request = next(iter(financials.plan(run_of(financials.SPEC))))

    asked = request.params["type"].split(",")
    assert "quarterlyTotalAssets" in asked
    assert "quarterlyDilutedEPS" in asked
    assert "quarterlyFreeCashFlow" in asked
    assert len(str(request.params)) < 2000


@recorded
@pytest.mark.parametrize(
    ("name", "status", "refusal"),
    [
        ("error_404_quoteSummary-assetProfile-ADH.json", 404, Refusal.NOT_FOUND),
        ("error_401_invalid_crumb_seed.json", 401, Refusal.RATE),
    ],
)
def test_yahoos_refusals_are_no_data(name: str, status: int, refusal: Refusal):
    """Whatever the status."""
    source = company_ownership.SPEC.sources[0]
    answer = Answer(status, {}, (FOLDER / name).read_text(), SLOT)

    found = read(source, answer, Request("ADH", "/"), run_of(company_ownership.SPEC))

    assert isinstance(found, Verdict)
    assert found.refusal is refusal


# Earnings ----------------------------------------------------------------------------------------


def calendar(*lines: tuple[str, str, str, str]) -> str:
    columns = ("Earnings Date", "EPS Estimate", "Reported EPS", "Surprise (%)")
    rows = [dict(zip(columns, line, strict=True)) for line in lines]
    return json.dumps({"earningsCalendar": {"result": rows, "error": None}})


def chart(days: dict[str, tuple[float | None, float | None]]) -> str:
    stamps = [int(datetime.fromisoformat(f"{day}T13:30+00:00").timestamp()) for day in days]
    quote = {"open": [one[0] for one in days.values()], "close": [one[1] for one in days.values()]}
    result = {"timestamp": stamps, "indicators": {"quote": [quote]}}
    return json.dumps({"chart": {"result": [result], "error": None}})


WEEK = {
    "2026-07-29": (99.0, 100.0),
    "2026-07-30": (101.0, 102.0),
    "2026-07-31": (None, None),
    "2026-08-03": (110.0, 105.06),
}


def reactions(*lines: tuple[str, str, str, str]) -> tuple[object, ...]:
    """Run an item's two pages."""
    spec = earnings_history.SPEC
    first = next(iter(spec.sources[0].plan(run_of(spec))))
    one = reading(spec, calendar(*lines), first)
    assert one.rows == ()
    assert one.next is not None
    assert one.next.path == "/v8/finance/chart/AAPL"
    two = reading(spec, chart(WEEK), one.next)
    assert two.next is None
    return two.rows


def test_a_report_after_the_close_moves_the_next_session():
    """F-33: and the session before it is the report's own day."""
    [row] = reactions(("July 30, 2026 at 4 PM EDT", "1.77", "1.85", "+4.54"))

    assert (row.symbol, row.report_date) == ("AAPL", date(2026, 7, 30))
    assert row.reported_at == datetime(2026, 7, 30, 20, tzinfo=UTC)
    assert row.reaction_date == date(2026, 8, 3)  # the 31st had no price
    assert (row.price_before_close, row.price_open, row.price_close) == (
        102,
        110,
        Decimal("105.06"),
    )
    assert row.gap_pct == Decimal("7.843137")
    assert row.move_pct == 3
    assert (row.eps_estimate, row.eps_actual, row.surprise_pct) == (
        Decimal("1.77"), Decimal("1.85"), Decimal("4.54"),
    )  # fmt: skip


def test_a_report_before_the_opening_moves_that_session():
    """And the session before it is the day before."""
    [row] = reactions(("July 30, 2026 at 8 AM EDT", "-", "1.85", "-"))

    assert row.reaction_date == date(2026, 7, 30)
    assert (row.price_before_close, row.price_close, row.move_pct) == (100, 102, 2)
    assert row.eps_estimate is None


def test_a_report_whose_session_has_not_come_is_no_row_yet():
    """The next run will find it."""
    assert reactions(("August 3, 2026 at 4 PM EDT", "1", "1", "0")) == ()


def test_coming_reports_ask_for_no_prices():
    """Nor do those of more than two years ago."""
    spec = earnings_history.SPEC
    first = next(iter(spec.sources[0].plan(run_of(spec))))
    text = calendar(
        ("October 29, 2026 at 4 PM EDT", "1.9", "-", "-"),
        ("July 30, 2020 at 4 PM EDT", "1", "2", "3"),
    )

    found = reading(spec, text, first)

    assert found.next is None
    answer = Answer(200, {}, text, SLOT)
    assert collected(spec.sources[0], found, first, answer=answer).state == "empty"


def test_a_line_that_cannot_be_read_costs_no_other():
    """It is set aside once, from its own page."""
    spec = earnings_history.SPEC
    first = next(iter(spec.sources[0].plan(run_of(spec))))
    text = calendar(("soon", "1", "1", "0"), ("July 30, 2026 at 8 AM EDT", "1", "1", "0"))

    found = reading(spec, text, first)

    assert [bad.raw["Earnings Date"] for bad in found.bad] == ["soon"]
    assert found.next is not None
    assert len(reading(spec, chart(WEEK), found.next).rows) == 1


@recorded
def test_recorded_prices_are_read_exactly():
    """A chart of one day is a session and no reaction; its figures keep their digits."""
    body = json.loads((FOLDER / "chart-AAPL-2020-01-01-to-2020-01-03.json").read_text())

    [session] = earnings_history._sessions(body["chart"]["result"][0])

    assert session.day == date(2020, 1, 2)
    assert str(session.open) == "74.05999755859375"
    assert str(session.close) == "75.0875015258789"


# Owners ------------------------------------------------------------------------------------------


def ownership(holders: list[object], trades: list[object]) -> str:
    result = {
        "institutionOwnership": {"ownershipList": holders},
        "insiderTransactions": {"transactions": trades},
    }
    return json.dumps({"quoteSummary": {"result": [result], "error": None}})


SALE = {
    "filerName": "COOK TIMOTHY D", "filerRelation": "Chief Executive Officer",
    "transactionText": "Sale at price 100.00 per share.", "shares": 500, "value": 50050,
    "startDate": 1751241600, "ownership": "D",
}  # fmt: skip
HOLDER = {
    "organization": "Vanguard Group Inc", "reportDate": {"raw": 1751241600, "fmt": "2025-06-30"},
    "pctHeld": {"raw": 0.0843, "fmt": "8.43%"}, "position": {"raw": 1415932804},
    "value": {"raw": 290534448128}, "pctChange": {"raw": 0.0103},
}  # fmt: skip
ITEM = Request("AAPL", "/")


def test_a_holders_share_is_in_percent():
    """F-17: absent is NULL, and not 0."""
    bare = {"organization": "Blackrock Inc."}

    big, small = reading(company_ownership.SPEC, ownership([HOLDER, bare], []), ITEM).rows

    assert (big.holder_name, big.shares_held) == ("Vanguard Group Inc", 1415932804)
    assert big.date_reported == date(2025, 6, 30)
    assert (big.pct_out, big.change_pct) == (Decimal("8.43"), Decimal("1.03"))
    assert big.value_usd == 290534448128
    assert (small.pct_out, small.shares_held, small.date_reported) == (None, None, None)


def test_equal_trades_of_a_day_are_all_rows():
    """F-16: each has a key, the same one in every run."""
    other = {**SALE, "shares": 501}

    first = reading(company_ownership.SPEC, ownership([], [SALE, SALE, other]), ITEM).rows
    again = reading(company_ownership.SPEC, ownership([], [SALE, SALE, other]), ITEM).rows

    assert len({row.trade_key for row in first}) == 3
    assert first == again
    assert first[0].price == Decimal("100.1")
    assert first[0].transaction_type == "Sale"
    assert first[0].shares_owned_after is None


def test_one_trade_without_shares_costs_nothing():
    """F-17: it has no price; one without a date is set aside."""
    found = reading(
        company_ownership.SPEC,
        ownership([], [{**SALE, "shares": None}, {"filerName": "X"}, SALE]),
        ITEM,
    )

    assert [row.price for row in found.rows] == [None, Decimal("100.1")]
    assert [bad.raw for bad in found.bad] == [{"filerName": "X"}]


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("Sale at price 100.00 per share.", "Sale"),
        ("Purchase at price 12.10 per share.", "Buy"),
        ("Stock Gift at price 0.00 per share.", "Gift"),
        ("Stock Award(Grant) at price 0.00 per share.", "Grant"),
        ("Conversion of Exercise of derivative security at price 9.1 per share.", "Exercise"),
        ("", "Other"),
        (None, "Other"),
    ],
)
def test_the_kind_of_a_trade(text: str | None, kind: str):
    """F-17: a gift is no purchase."""
    assert kind_of(text) == kind
