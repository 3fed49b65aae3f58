"""Quarterly balance sheets, as filed."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal

from ray_pipeline.jobs.spec import JobSpec, Json, Request, Run, Source, each
from ray_pipeline.jobs.table import Range, Table
from ray_pipeline.jobs.values import day, decimal, text
from ray_pipeline.providers.alpha_vantage import PROVIDER as ALPHA_VANTAGE
from ray_pipeline.schedules.cron import NEW_YORK, Cron

COMPANIES = "SELECT symbol FROM sp500_companies WHERE is_member ORDER BY symbol"
# The provider has spelled this one with a third r.
MISSPELT = {"otherNonCurrentAssets": "otherNonCurrrentAssets"}


@dataclass(frozen=True, slots=True)
class BalanceSheet:
    """One quarter of one company; amounts in the reported currency."""

    symbol: str
    fiscaldateending: date
    reportedcurrency: str | None
    totalassets: Decimal | None
    totalcurrentassets: Decimal | None
    totalnoncurrentassets: Decimal | None
    cashandcashequivalentsatcarryingvalue: Decimal | None
    cashandshortterminvestments: Decimal | None
    shortterminvestments: Decimal | None
    inventory: Decimal | None
    currentnetreceivables: Decimal | None
    othercurrentassets: Decimal | None
    propertyplantequipment: Decimal | None
    accumulateddepreciationamortizationppe: Decimal | None
    intangibleassets: Decimal | None
    intangibleassetsexcludinggoodwill: Decimal | None
    goodwill: Decimal | None
    investments: Decimal | None
    longterminvestments: Decimal | None
    othernoncurrentassets: Decimal | None
    totalliabilities: Decimal | None
    totalcurrentliabilities: Decimal | None
    totalnoncurrentliabilities: Decimal | None
    currentaccountspayable: Decimal | None
    deferredrevenue: Decimal | None
    othercurrentliabilities: Decimal | None
    othernoncurrentliabilities: Decimal | None
    currentdebt: Decimal | None
    shorttermdebt: Decimal | None
    longtermdebt: Decimal | None
    currentlongtermdebt: Decimal | None
    longtermdebtnoncurrent: Decimal | None
    shortlongtermdebttotal: Decimal | None
    capitalleaseobligations: Decimal | None
    totalshareholderequity: Decimal | None
    treasurystock: Decimal | None
    retainedearnings: Decimal | None
    commonstock: Decimal | None
    commonstocksharesoutstanding: Decimal | None
    source: str


def plan(run: Run) -> Iterator[Request]:
    """One request a company."""
    for symbol in run.values("companies", "symbol"):
        yield Request(symbol, "/query", {"function": "BALANCE_SHEET", "symbol": symbol})


def parse(body: Json, request: Request, _run: Run) -> Iterator[object]:
    """
    Read the quarters; an amount that is 'None' or missing is NULL.

    {"symbol": "IBM", "quarterlyReports": [{"fiscalDateEnding": "2026-03-31", ...}, ...]}
    """
    yield from each(body["quarterlyReports"], lambda report: _row(report, request.item))


def _row(report: Json, symbol: str) -> BalanceSheet:
    quarter = day(report["fiscalDateEnding"])
    if quarter is None:
        raise ValueError("no fiscalDateEnding")

    def amount(name: str) -> Decimal | None:
        return decimal(report.get(name, report.get(MISSPELT.get(name, name))))

    return BalanceSheet(
        symbol=symbol,
        fiscaldateending=quarter,
        reportedcurrency=text(report.get("reportedCurrency")),
        totalassets=amount("totalAssets"),
        totalcurrentassets=amount("totalCurrentAssets"),
        totalnoncurrentassets=amount("totalNonCurrentAssets"),
        cashandcashequivalentsatcarryingvalue=amount("cashAndCashEquivalentsAtCarryingValue"),
        cashandshortterminvestments=amount("cashAndShortTermInvestments"),
        shortterminvestments=amount("shortTermInvestments"),
        inventory=amount("inventory"),
        currentnetreceivables=amount("currentNetReceivables"),
        othercurrentassets=amount("otherCurrentAssets"),
        propertyplantequipment=amount("propertyPlantEquipment"),
        accumulateddepreciationamortizationppe=amount("accumulatedDepreciationAmortizationPPE"),
        intangibleassets=amount("intangibleAssets"),
        intangibleassetsexcludinggoodwill=amount("intangibleAssetsExcludingGoodwill"),
        goodwill=amount("goodwill"),
        investments=amount("investments"),
        longterminvestments=amount("longTermInvestments"),
        othernoncurrentassets=amount("otherNonCurrentAssets"),
        totalliabilities=amount("totalLiabilities"),
        totalcurrentliabilities=amount("totalCurrentLiabilities"),
        totalnoncurrentliabilities=amount("totalNonCurrentLiabilities"),
        currentaccountspayable=amount("currentAccountsPayable"),
        deferredrevenue=amount("deferredRevenue"),
        othercurrentliabilities=amount("otherCurrentLiabilities"),
        othernoncurrentliabilities=amount("otherNonCurrentLiabilities"),
        currentdebt=amount("currentDebt"),
        shorttermdebt=amount("shortTermDebt"),
        longtermdebt=amount("longTermDebt"),
        currentlongtermdebt=amount("currentLongTermDebt"),
        longtermdebtnoncurrent=amount("longTermDebtNoncurrent"),
        shortlongtermdebttotal=amount("shortLongTermDebtTotal"),
        capitalleaseobligations=amount("capitalLeaseObligations"),
        totalshareholderequity=amount("totalShareholderEquity"),
        treasurystock=amount("treasuryStock"),
        retainedearnings=amount("retainedEarnings"),
        commonstock=amount("commonStock"),
        commonstocksharesoutstanding=amount("commonStockSharesOutstanding"),
        source="alpha_vantage",
    )


SPEC = JobSpec(
    name="balance_sheet",
    title="Quarterly balance sheets of the S&P 500, 10 companies a day",
    sources=(Source(ALPHA_VANTAGE, plan, parse),),
    tables=(
        Table(
            "balance_sheet",
            BalanceSheet,
            key=("symbol", "fiscaldateending"),
            touched="fetched_at",
            ranges=(Range("totalassets", 0),),
            fresh=timedelta(days=3),
        ),
    ),
    schedule=Cron("0 7 * * *", NEW_YORK),
    inputs={"companies": COMPANIES},
    refresh=timedelta(days=60),
    batch=10,
    typical_items=503,
    depends=("sp500_companies",),
)
