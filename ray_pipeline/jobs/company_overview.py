"""Company overviews: descriptions and key ratios; one full sweep takes weeks."""

from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal

from ray_pipeline.jobs._alpha_vantage import plan_symbols
from ray_pipeline.jobs._members import MEMBERS
from ray_pipeline.jobs.columns import column, read_row, table_row
from ray_pipeline.jobs.spec import WHOLE, Empty, JobSpec, Json, Request, Run, Source, check_item
from ray_pipeline.jobs.table import Range, Table
from ray_pipeline.jobs.values import required
from ray_pipeline.providers.alpha_vantage import PROVIDER as ALPHA_VANTAGE
from ray_pipeline.schedules.cron import NEW_YORK, Cron


@table_row
class CompanyOverview:
    """A company in one batch."""

    batch_id: int
    symbol: str
    asset_type: str | None = column("AssetType")
    name: str = column("Name")
    description: str | None = column("Description")
    cik: str | None = column("CIK")
    exchange: str | None = column("Exchange")
    currency: str | None = column("Currency")
    country: str | None = column("Country")
    sector: str | None = column("Sector")
    industry: str | None = column("Industry")
    address: str | None = column("Address")
    official_site: str | None = column("OfficialSite")
    fiscal_year_end: str | None = column("FiscalYearEnd")
    latest_quarter: str | None = column("LatestQuarter")
    market_capitalization: int | None = column("MarketCapitalization", required=True)
    ebitda: int | None = column("EBITDA")
    pe_ratio: Decimal | None = column("PERatio")
    peg_ratio: Decimal | None = column("PEGRatio")
    book_value: Decimal | None = column("BookValue")
    dividend_per_share: Decimal | None = column("DividendPerShare")
    dividend_yield: Decimal | None = column("DividendYield")
    eps: Decimal | None = column("EPS")
    revenue_per_share_ttm: Decimal | None = column("RevenuePerShareTTM")
    profit_margin: Decimal | None = column("ProfitMargin")
    operating_margin_ttm: Decimal | None = column("OperatingMarginTTM")
    return_on_assets_ttm: Decimal | None = column("ReturnOnAssetsTTM")
    return_on_equity_ttm: Decimal | None = column("ReturnOnEquityTTM")
    revenue_ttm: int | None = column("RevenueTTM")
    gross_profit_ttm: int | None = column("GrossProfitTTM")
    diluted_eps_ttm: Decimal | None = column("DilutedEPSTTM")
    quarterly_earnings_growth_yoy: Decimal | None = column("QuarterlyEarningsGrowthYOY")
    quarterly_revenue_growth_yoy: Decimal | None = column("QuarterlyRevenueGrowthYOY")
    analyst_target_price: Decimal | None = column("AnalystTargetPrice")
    trailing_pe: Decimal | None = column("TrailingPE")
    forward_pe: Decimal | None = column("ForwardPE")
    price_to_sales_ratio_ttm: Decimal | None = column("PriceToSalesRatioTTM")
    price_to_book_ratio: Decimal | None = column("PriceToBookRatio")
    ev_to_revenue: Decimal | None = column("EVToRevenue")
    ev_to_ebitda: Decimal | None = column("EVToEBITDA")
    beta: Decimal | None = column("Beta")
    week_52_high: Decimal | None = column("52WeekHigh")
    week_52_low: Decimal | None = column("52WeekLow")
    day_50_moving_average: Decimal | None = column("50DayMovingAverage")
    day_200_moving_average: Decimal | None = column("200DayMovingAverage")
    shares_outstanding: int | None = column("SharesOutstanding")
    dividend_date: str | None = column("DividendDate")
    ex_dividend_date: str | None = column("ExDividendDate")
    source: str = "alpha_vantage"


def parse(body: Json, request: Request, run: Run) -> Iterator[CompanyOverview]:
    """
    Read an overview; 'None' and '-' are NULL, and the name is required.

    {"Symbol": "IBM", "Name": "International Business Machines", "PERatio": "22.2", ...}
    """
    check_item(required(body.get("Symbol")), request.item)  # another document has no symbol
    yield read_row(CompanyOverview, body, batch_id=run.batch, symbol=request.item)


SPEC = JobSpec(
    name="company_overview",
    title="Company overviews of the S&P 500, 20 a day",
    sources=(
        Source(
            ALPHA_VANTAGE,
            plan_symbols("OVERVIEW", "members"),
            parse,
            empty=Empty.UNKNOWN,
            least=WHOLE,
        ),
    ),
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
    inputs=MEMBERS,
    refresh=timedelta(days=25),
    batch=20,
    typical_items=503,
    batched="company_overview",
    depends=("sp500_companies",),
)
