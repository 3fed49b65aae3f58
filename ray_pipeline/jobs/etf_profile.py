"""Profiles of ETFs: size, cost, sectors, holdings."""

from collections.abc import Iterator
from datetime import date, timedelta
from decimal import Decimal

from ray_pipeline.jobs._alpha_vantage import plan_symbols
from ray_pipeline.jobs.columns import column, read_row, table_row
from ray_pipeline.jobs.spec import WHOLE, Empty, JobSpec, Json, Request, Run, Source
from ray_pipeline.jobs.table import Range, Table
from ray_pipeline.providers.alpha_vantage import PROVIDER as ALPHA_VANTAGE
from ray_pipeline.schedules.cron import NEW_YORK, Cron

FUNDS = "SELECT symbol FROM etf_basic_info ORDER BY popularity_rank NULLS LAST, symbol"


@table_row
class EtfProfile:
    """A fund; ratios are fractions, not percent."""

    symbol: str
    net_assets: int | None = column(required=True)  # USD
    net_expense_ratio: Decimal | None
    portfolio_turnover: Decimal | None
    dividend_yield: Decimal | None
    inception_date: date | None
    leveraged: str | None
    # A fund of one commodity has empty lists. An answer without the lists is another document.
    sectors: list[Json] = column(required=True)
    holdings: list[Json] = column(required=True)
    source: str = "alpha_vantage"


def parse(body: Json, request: Request, _run: Run) -> Iterator[EtfProfile]:
    """
    Read a profile; 'n/a' is NULL.

    {"net_assets": "440300000000", "net_expense_ratio": "0.0018", "sectors": [...], ...}
    """
    yield read_row(EtfProfile, body, symbol=request.item)


SPEC = JobSpec(
    name="etf_profile",
    title="Profiles and holdings of 60 ETFs, 15 a day",
    sources=(
        Source(
            ALPHA_VANTAGE,
            plan_symbols("ETF_PROFILE", "funds"),
            parse,
            empty=Empty.UNKNOWN,
            least=WHOLE,
        ),
    ),
    tables=(
        Table(
            "etf_profile_holdings",
            EtfProfile,
            key=("symbol",),
            touched="updated_at",
            ranges=(Range("net_expense_ratio", 0, 1),),
            fresh=timedelta(days=3),
        ),
    ),
    schedule=Cron("0 8 * * *", NEW_YORK),
    inputs={"funds": FUNDS},
    refresh=timedelta(days=6),
    batch=15,
    typical_items=60,
    depends=("etf_basic_info",),
)
