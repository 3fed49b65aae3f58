"""Company overviews: what a company is, and its figures; one full sweep takes weeks."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal

from ray_pipeline.jobs.spec import JobSpec, Json, Request, Run, Source
from ray_pipeline.jobs.table import Range, Table
from ray_pipeline.jobs.values import decimal, integer, required, text
from ray_pipeline.providers.alpha_vantage import PROVIDER as ALPHA_VANTAGE
from ray_pipeline.schedules.cron import NEW_YORK, Cron

COMPANIES = "SELECT symbol FROM sp500_companies WHERE is_member ORDER BY symbol"


@dataclass(frozen=True, slots=True)
class CompanyOverview:
    """A company as of one batch."""

    batch_id: int
    symbol: str
    asset_type: str | None
    name: str
    description: str | None
    cik: str | None
    exchange: str | None
    currency: str | None
    country: str | None
    sector: str | None
    industry: str | None
    address: str | None
    official_site: str | None
    fiscal_year_end: str | None
    latest_quarter: str | None
    market_capitalization: int | None
    ebitda: int | None
    pe_ratio: Decimal | None
    peg_ratio: Decimal | None
    book_value: Decimal | None
    dividend_per_share: Decimal | None
    dividend_yield: Decimal | None
    eps: Decimal | None
    revenue_per_share_ttm: Decimal | None
    profit_margin: Decimal | None
    operating_margin_ttm: Decimal | None
    return_on_assets_ttm: Decimal | None
    return_on_equity_ttm: Decimal | None
    revenue_ttm: int | None
    gross_profit_ttm: int | None
    diluted_eps_ttm: Decimal | None
    quarterly_earnings_growth_yoy: Decimal | None
    quarterly_revenue_growth_yoy: Decimal | None
    analyst_target_price: Decimal | None
    trailing_pe: Decimal | None
    forward_pe: Decimal | None
    price_to_sales_ratio_ttm: Decimal | None
    price_to_book_ratio: Decimal | None
    ev_to_revenue: Decimal | None
    ev_to_ebitda: Decimal | None
    beta: Decimal | None
    week_52_high: Decimal | None
    week_52_low: Decimal | None
    day_50_moving_average: Decimal | None
    day_200_moving_average: Decimal | None
    shares_outstanding: int | None
    dividend_date: str | None
    ex_dividend_date: str | None
    source: str


def plan(run: Run) -> Iterator[Request]:
    """One request a company."""
    for symbol in run.values("companies", "symbol"):
        yield Request(symbol, "/query", {"function": "OVERVIEW", "symbol": symbol})


def parse(body: Json, request: Request, run: Run) -> Iterator[CompanyOverview]:
    """
    Read an overview; a figure that is 'None' or '-' is NULL, a name must be there.

    {"Symbol": "IBM", "Name": "International Business Machines", "PERatio": "22.2", ...}
    """
    required(body.get("Symbol"))
    yield CompanyOverview(
        batch_id=run.batch,
        symbol=request.item,
        asset_type=text(body.get("AssetType")),
        name=required(body.get("Name")),
        description=text(body.get("Description")),
        cik=text(body.get("CIK")),
        exchange=text(body.get("Exchange")),
        currency=text(body.get("Currency")),
        country=text(body.get("Country")),
        sector=text(body.get("Sector")),
        industry=text(body.get("Industry")),
        address=text(body.get("Address")),
        official_site=text(body.get("OfficialSite")),
        fiscal_year_end=text(body.get("FiscalYearEnd")),
        latest_quarter=text(body.get("LatestQuarter")),
        market_capitalization=integer(body.get("MarketCapitalization")),
        ebitda=integer(body.get("EBITDA")),
        pe_ratio=decimal(body.get("PERatio")),
        peg_ratio=decimal(body.get("PEGRatio")),
        book_value=decimal(body.get("BookValue")),
        dividend_per_share=decimal(body.get("DividendPerShare")),
        dividend_yield=decimal(body.get("DividendYield")),
        eps=decimal(body.get("EPS")),
        revenue_per_share_ttm=decimal(body.get("RevenuePerShareTTM")),
        profit_margin=decimal(body.get("ProfitMargin")),
        operating_margin_ttm=decimal(body.get("OperatingMarginTTM")),
        return_on_assets_ttm=decimal(body.get("ReturnOnAssetsTTM")),
        return_on_equity_ttm=decimal(body.get("ReturnOnEquityTTM")),
        revenue_ttm=integer(body.get("RevenueTTM")),
        gross_profit_ttm=integer(body.get("GrossProfitTTM")),
        diluted_eps_ttm=decimal(body.get("DilutedEPSTTM")),
        quarterly_earnings_growth_yoy=decimal(body.get("QuarterlyEarningsGrowthYOY")),
        quarterly_revenue_growth_yoy=decimal(body.get("QuarterlyRevenueGrowthYOY")),
        analyst_target_price=decimal(body.get("AnalystTargetPrice")),
        trailing_pe=decimal(body.get("TrailingPE")),
        forward_pe=decimal(body.get("ForwardPE")),
        price_to_sales_ratio_ttm=decimal(body.get("PriceToSalesRatioTTM")),
        price_to_book_ratio=decimal(body.get("PriceToBookRatio")),
        ev_to_revenue=decimal(body.get("EVToRevenue")),
        ev_to_ebitda=decimal(body.get("EVToEBITDA")),
        beta=decimal(body.get("Beta")),
        week_52_high=decimal(body.get("52WeekHigh")),
        week_52_low=decimal(body.get("52WeekLow")),
        day_50_moving_average=decimal(body.get("50DayMovingAverage")),
        day_200_moving_average=decimal(body.get("200DayMovingAverage")),
        shares_outstanding=integer(body.get("SharesOutstanding")),
        dividend_date=text(body.get("DividendDate")),
        ex_dividend_date=text(body.get("ExDividendDate")),
        source="alpha_vantage",
    )


SPEC = JobSpec(
    name="company_overview",
    title="Company overviews of the S&P 500, 20 a day",
    sources=(Source(ALPHA_VANTAGE, plan, parse, empty=False),),
    tables=(
        Table(
            "company_overview",
            CompanyOverview,
            key=("batch_id", "symbol"),
            touched="updated_at",
            ranges=(Range("market_capitalization", 0), Range("beta", -10, 10)),
            fresh=timedelta(days=2),
        ),
    ),
    schedule=Cron("0 6 * * *", NEW_YORK),
    inputs={"companies": COMPANIES},
    refresh=timedelta(days=25),
    batch=20,
    typical_items=503,
    batched="company_overview",
    depends=("sp500_companies",),
)
