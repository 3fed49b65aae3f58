"""Quarterly balance sheets, income statements and cash flows of the S&P 500's members."""

from collections import defaultdict
from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from functools import partial

from ray_pipeline.errors import BadValue
from ray_pipeline.jobs._members import MEMBERS
from ray_pipeline.jobs._yahoo import figure, yahoo_symbol
from ray_pipeline.jobs.columns import column, declared_columns, read_row, table_row
from ray_pipeline.jobs.spec import (
    UNREADABLE,
    WHOLE,
    Empty,
    JobSpec,
    Json,
    Request,
    Run,
    Source,
    Unparsed,
    check_item,
    each,
)
from ray_pipeline.jobs.table import Table
from ray_pipeline.jobs.values import at, day, elements, required
from ray_pipeline.providers.yahoo import PROVIDER as YAHOO
from ray_pipeline.schedules.cron import NEW_YORK, Cron

PERIOD = "quarterly"
SINCE = 1_483_142_400  # 2016-12-31; Yahoo returns five quarters, whatever the period


@table_row
class BalanceSheet:
    """The assets and debts of a company at the end of a quarter, in its currency."""

    symbol: str
    fiscal_date_ending: date
    total_assets: Decimal | None = column("TotalAssets", required=True)
    total_liabilities: Decimal | None = column(
        "TotalLiabilitiesNetMinorityInterest", alias="TotalLiabilities"
    )
    total_equity: Decimal | None = column(
        "StockholdersEquity", alias="TotalEquityGrossMinorityInterest"
    )
    cash_and_equivalents: Decimal | None = column("CashAndCashEquivalents", alias="CashFinancial")
    total_debt: Decimal | None = column("TotalDebt")
    net_debt: Decimal | None = column("NetDebt")
    working_capital: Decimal | None = column("WorkingCapital")


@table_row
class IncomeStatement:
    """The revenue and profit of a company in a quarter."""

    symbol: str
    fiscal_date_ending: date
    total_revenue: Decimal | None = column("TotalRevenue", alias="OperatingRevenue", required=True)
    gross_profit: Decimal | None = column("GrossProfit")
    operating_income: Decimal | None = column("OperatingIncome")
    net_income: Decimal | None = column("NetIncome")
    ebitda: Decimal | None = column("EBITDA")
    basic_eps: Decimal | None = column("BasicEPS")
    diluted_eps: Decimal | None = column("DilutedEPS")


@table_row
class CashFlow:
    """The cash flows of a company in a quarter."""

    symbol: str
    fiscal_date_ending: date
    operating_cashflow: Decimal | None = column("OperatingCashFlow", required=True)
    investing_cashflow: Decimal | None = column("InvestingCashFlow")
    financing_cashflow: Decimal | None = column("FinancingCashFlow")
    capital_expenditures: Decimal | None = column("CapitalExpenditure")
    free_cash_flow: Decimal | None = column("FreeCashFlow")


STATEMENTS: tuple[type, ...] = (BalanceSheet, IncomeStatement, CashFlow)


def keys_of(statement: type) -> dict[str, None]:
    """Return Yahoo's keys of a statement's amounts, in order."""
    columns = declared_columns(statement).values()
    keys = (key for declared in columns for key in (*declared.path, declared.alias))
    return dict.fromkeys(str(key) for key in keys if key is not None)


TYPES = tuple(key for statement in STATEMENTS for key in keys_of(statement))


def plan(run: Run) -> Iterator[Request]:
    """Make one request for each company, which returns all three statements."""
    for symbol in run.values("members", "symbol"):
        name = yahoo_symbol(symbol)
        yield Request(
            item=symbol,
            path=f"/ws/fundamentals-timeseries/v1/finance/timeseries/{name}",
            params={
                "symbol": name,
                "type": ",".join(f"{PERIOD}{key}" for key in TYPES),
                "period1": str(SINCE),
                "period2": str(int(run.slot.timestamp())),
            },
            facts={"period": PERIOD},
        )


def parse(body: Json, request: Request, _run: Run) -> Iterator[object]:
    """
    Read statements: the answer has a series for each value, and a point for each quarter.

    {"timeseries": {"result": [{"meta": {"type": ["quarterlyTotalAssets"]}, "quarterlyTotalAssets":
     [{"asOfDate": "2024-09-30", "reportedValue": {"raw": 364980000000}}]}]}}
    """
    amounts: dict[date, dict[str, Decimal]] = defaultdict(dict)
    for series in body["timeseries"]["result"]:
        check_item(at(series, "meta", "symbol", 0), request.item)
        kind = required(at(series, "meta", "type", 0))
        name = kind.removeprefix(request.facts["period"])
        for point in elements(series.get(kind)):
            try:
                _add(amounts, name, point)
            except UNREADABLE as bad:
                yield Unparsed({kind: point}, type(bad).__name__, str(bad))
    for statement in STATEMENTS:
        # A quarter without any amount of a statement has no such statement yet.
        quarters = [
            day for day in sorted(amounts) if keys_of(statement).keys() & amounts[day].keys()
        ]
        yield from each(quarters, partial(_row, statement, amounts, request.item))


def _row(
    statement: type, amounts: dict[date, dict[str, Decimal]], symbol: str, quarter: date
) -> object:
    row: object = read_row(statement, amounts[quarter], symbol=symbol, fiscal_date_ending=quarter)
    return row


def _add(amounts: dict[date, dict[str, Decimal]], name: str, point: Json) -> None:
    if point is None:
        return  # Yahoo sends null for a quarter without a value
    quarter, value = day(point["asOfDate"]), figure(point["reportedValue"])
    if quarter is None:
        raise BadValue("no date")
    if value is not None:
        amounts[quarter][name] = value


def _table(name: str, row: type) -> Table:
    return Table(name, row, key=("symbol", "fiscal_date_ending"), touched="updated_at")


SPEC = JobSpec(
    name="financials",
    title="Quarterly statements of the S&P 500's members",
    sources=(Source(YAHOO, plan, parse, empty=Empty.UNKNOWN, least=WHOLE),),
    tables=(
        _table("balance_sheet_yfinance", BalanceSheet),
        _table("income_stmt", IncomeStatement),
        _table("cash_flow", CashFlow),
    ),
    schedule=Cron("10 1 * * 0", NEW_YORK),
    inputs=MEMBERS,
    typical_items=503,
    depends=("sp500_companies",),
)
