"""Quarterly balance sheets, as filed."""

from collections.abc import Iterator
from datetime import date, timedelta
from decimal import Decimal

from ray_pipeline.jobs._alpha_vantage import plan_symbols
from ray_pipeline.jobs._members import MEMBERS
from ray_pipeline.jobs.columns import column, read_row, table_row
from ray_pipeline.jobs.spec import (
    WHOLE,
    Empty,
    JobSpec,
    Json,
    Request,
    Run,
    Source,
    check_item,
    each,
)
from ray_pipeline.jobs.table import Range, Table
from ray_pipeline.providers.alpha_vantage import PROVIDER as ALPHA_VANTAGE
from ray_pipeline.schedules.cron import NEW_YORK, Cron


@table_row
class ReportedBalanceSheet:
    """One quarter of one company; amounts in the reported currency."""

    symbol: str
    fiscaldateending: date = column("fiscalDateEnding")
    reportedcurrency: str | None = column("reportedCurrency")
    totalassets: Decimal | None = column("totalAssets", required=True)
    totalcurrentassets: Decimal | None = column("totalCurrentAssets")
    totalnoncurrentassets: Decimal | None = column("totalNonCurrentAssets")
    cashandcashequivalentsatcarryingvalue: Decimal | None = column(
        "cashAndCashEquivalentsAtCarryingValue"
    )
    cashandshortterminvestments: Decimal | None = column("cashAndShortTermInvestments")
    shortterminvestments: Decimal | None = column("shortTermInvestments")
    inventory: Decimal | None
    currentnetreceivables: Decimal | None = column("currentNetReceivables")
    othercurrentassets: Decimal | None = column("otherCurrentAssets")
    propertyplantequipment: Decimal | None = column("propertyPlantEquipment")
    accumulateddepreciationamortizationppe: Decimal | None = column(
        "accumulatedDepreciationAmortizationPPE"
    )
    intangibleassets: Decimal | None = column("intangibleAssets")
    intangibleassetsexcludinggoodwill: Decimal | None = column("intangibleAssetsExcludingGoodwill")
    goodwill: Decimal | None
    investments: Decimal | None
    longterminvestments: Decimal | None = column("longTermInvestments")
    # Some answers spell the key with a third r.
    othernoncurrentassets: Decimal | None = column(
        "otherNonCurrentAssets", alias="otherNonCurrrentAssets"
    )
    totalliabilities: Decimal | None = column("totalLiabilities")
    totalcurrentliabilities: Decimal | None = column("totalCurrentLiabilities")
    totalnoncurrentliabilities: Decimal | None = column("totalNonCurrentLiabilities")
    currentaccountspayable: Decimal | None = column("currentAccountsPayable")
    deferredrevenue: Decimal | None = column("deferredRevenue")
    othercurrentliabilities: Decimal | None = column("otherCurrentLiabilities")
    othernoncurrentliabilities: Decimal | None = column("otherNonCurrentLiabilities")
    currentdebt: Decimal | None = column("currentDebt")
    shorttermdebt: Decimal | None = column("shortTermDebt")
    longtermdebt: Decimal | None = column("longTermDebt")
    currentlongtermdebt: Decimal | None = column("currentLongTermDebt")
    longtermdebtnoncurrent: Decimal | None = column("longTermDebtNoncurrent")
    shortlongtermdebttotal: Decimal | None = column("shortLongTermDebtTotal")
    capitalleaseobligations: Decimal | None = column("capitalLeaseObligations")
    totalshareholderequity: Decimal | None = column("totalShareholderEquity")
    treasurystock: Decimal | None = column("treasuryStock")
    retainedearnings: Decimal | None = column("retainedEarnings")
    commonstock: Decimal | None = column("commonStock")
    commonstocksharesoutstanding: Decimal | None = column("commonStockSharesOutstanding")
    source: str = "alpha_vantage"


def parse(body: Json, request: Request, _run: Run) -> Iterator[object]:
    """
    Read the quarters; an amount that is 'None' or missing is NULL.

    A report without total assets is another document, such as an income statement.

    {"symbol": "IBM", "quarterlyReports": [{"fiscalDateEnding": "2026-03-31", ...}, ...]}
    """
    check_item(body.get("symbol"), request.item)
    yield from each(
        body["quarterlyReports"],
        lambda report: read_row(ReportedBalanceSheet, report, symbol=request.item),
    )


SPEC = JobSpec(
    name="balance_sheet",
    title="Quarterly balance sheets of the S&P 500, 10 companies a day",
    sources=(
        Source(
            ALPHA_VANTAGE,
            plan_symbols("BALANCE_SHEET", "members"),
            parse,
            empty=Empty.UNKNOWN,
            least=WHOLE,
        ),
    ),
    tables=(
        Table(
            "balance_sheet",
            ReportedBalanceSheet,
            key=("symbol", "fiscaldateending"),
            touched="fetched_at",
            ranges=(Range("totalassets", 0),),
            fresh=timedelta(days=3),
        ),
    ),
    schedule=Cron("0 7 * * *", NEW_YORK),
    inputs=MEMBERS,
    refresh=timedelta(days=60),
    batch=10,
    typical_items=503,
    depends=("sp500_companies",),
)
