"""Quarterly balance sheets, income statements and cash flows of the S&P 500's members."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from ray_pipeline.jobs._yahoo import MEMBERS, figure, yahoo_symbol
from ray_pipeline.jobs.spec import UNREADABLE, JobSpec, Json, Request, Run, Source, Unparsed
from ray_pipeline.jobs.table import Table
from ray_pipeline.jobs.values import at, day, required
from ray_pipeline.providers.yahoo import PROVIDER as YAHOO
from ray_pipeline.schedules.cron import NEW_YORK, Cron

PERIOD = "quarterly"
SINCE = 1_483_142_400  # 2016-12-31; Yahoo has five quarters, whatever is asked for

# A column's names at Yahoo; the first that has a figure counts.
Names = Mapping[str, Sequence[str]]
BALANCE_SHEET: Names = {
    "total_assets": ("TotalAssets",),
    "total_liabilities": ("TotalLiabilitiesNetMinorityInterest", "TotalLiabilities"),
    "total_equity": ("StockholdersEquity", "TotalEquityGrossMinorityInterest"),
    "cash_and_equivalents": ("CashAndCashEquivalents", "CashFinancial"),
    "total_debt": ("TotalDebt",),
    "net_debt": ("NetDebt",),
    "working_capital": ("WorkingCapital",),
}
INCOME: Names = {
    "total_revenue": ("TotalRevenue", "OperatingRevenue"),
    "gross_profit": ("GrossProfit",),
    "operating_income": ("OperatingIncome",),
    "net_income": ("NetIncome",),
    "ebitda": ("EBITDA",),
    "basic_eps": ("BasicEPS",),
    "diluted_eps": ("DilutedEPS",),
}
CASH_FLOW: Names = {
    "operating_cashflow": ("OperatingCashFlow",),
    "investing_cashflow": ("InvestingCashFlow",),
    "financing_cashflow": ("FinancingCashFlow",),
    "capital_expenditures": ("CapitalExpenditure",),
    "free_cash_flow": ("FreeCashFlow",),
}
TYPES = tuple(
    name for names in (BALANCE_SHEET, INCOME, CASH_FLOW) for some in names.values() for name in some
)


@dataclass(frozen=True, slots=True)
class BalanceSheet:
    """What a company had at the end of a quarter, in its currency."""

    symbol: str
    fiscal_date_ending: date
    total_assets: Decimal | None
    total_liabilities: Decimal | None
    total_equity: Decimal | None
    cash_and_equivalents: Decimal | None
    total_debt: Decimal | None
    net_debt: Decimal | None
    working_capital: Decimal | None


@dataclass(frozen=True, slots=True)
class IncomeStatement:
    """What a company earned in a quarter."""

    symbol: str
    fiscal_date_ending: date
    total_revenue: Decimal | None
    gross_profit: Decimal | None
    operating_income: Decimal | None
    net_income: Decimal | None
    ebitda: Decimal | None
    basic_eps: Decimal | None
    diluted_eps: Decimal | None


@dataclass(frozen=True, slots=True)
class CashFlow:
    """What a company's money did in a quarter."""

    symbol: str
    fiscal_date_ending: date
    operating_cashflow: Decimal | None
    investing_cashflow: Decimal | None
    financing_cashflow: Decimal | None
    capital_expenditures: Decimal | None
    free_cash_flow: Decimal | None


Statement = type[BalanceSheet] | type[IncomeStatement] | type[CashFlow]
STATEMENTS: tuple[tuple[Statement, Names], ...] = (
    (BalanceSheet, BALANCE_SHEET),
    (IncomeStatement, INCOME),
    (CashFlow, CASH_FLOW),
)


def plan(run: Run) -> Iterator[Request]:
    """One call a company brings all three statements."""
    for symbol in run.values("members", "symbol"):
        name = yahoo_symbol(symbol)
        yield Request(
            item=symbol,
            path=f"/ws/fundamentals-timeseries/v1/finance/timeseries/{name}",
            params={
                "symbol": name,
                "type": ",".join(PERIOD + kind for kind in TYPES),
                "period1": str(SINCE),
                "period2": str(int(run.slot.timestamp())),
            },
            facts={"period": PERIOD},
        )


def parse(body: Json, request: Request, _run: Run) -> Iterator[object]:
    """
    Read statements: a series a figure, a point a quarter.

    {"timeseries": {"result": [{"meta": {"type": ["quarterlyTotalAssets"]}, "quarterlyTotalAssets":
     [{"asOfDate": "2024-09-30", "reportedValue": {"raw": 364980000000}}]}]}}
    """
    figures: dict[date, dict[str, Decimal]] = defaultdict(dict)
    for series in body["timeseries"]["result"]:
        kind = required(at(series, "meta", "type", 0))
        name = kind.removeprefix(request.facts["period"])
        for point in series.get(kind) or ():
            try:
                _add(figures, name, point)
            except UNREADABLE as bad:
                yield Unparsed({kind: point}, type(bad).__name__, str(bad))
    for quarter in sorted(figures):
        for statement, names in STATEMENTS:
            values = {
                column: next((figures[quarter][n] for n in some if n in figures[quarter]), None)
                for column, some in names.items()
            }
            if any(value is not None for value in values.values()):
                yield statement(request.item, quarter, **values)


def _add(figures: dict[date, dict[str, Decimal]], name: str, point: Json) -> None:
    if point is None:
        return  # Yahoo's way to say that a quarter has none
    quarter, value = day(point["asOfDate"]), figure(point["reportedValue"])
    if quarter is None:
        raise ValueError("no date")
    if value is not None:
        figures[quarter][name] = value


def _table(name: str, row: Statement, names: Names) -> Table:
    # A figure that Yahoo leaves out later was not withdrawn by the company.
    return Table(
        name,
        row,
        key=("symbol", "fiscal_date_ending"),
        touched="updated_at",
        fill=tuple(names),
    )


SPEC = JobSpec(
    name="financials",
    title="Quarterly statements of the S&P 500's members",
    sources=(Source(YAHOO, plan, parse),),
    tables=(
        _table("balance_sheet_yfinance", BalanceSheet, BALANCE_SHEET),
        _table("income_stmt", IncomeStatement, INCOME),
        _table("cash_flow", CashFlow, CASH_FLOW),
    ),
    schedule=Cron("10 1 * * 0", NEW_YORK),
    inputs=MEMBERS,
    typical_items=503,
    depends=("sp500_companies",),
)
