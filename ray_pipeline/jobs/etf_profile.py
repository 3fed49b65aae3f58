"""Profiles of ETFs: size, cost, sectors, holdings."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal

from ray_pipeline.jobs.spec import JobSpec, Json, Request, Run, Source
from ray_pipeline.jobs.table import Range, Table
from ray_pipeline.jobs.values import day, decimal, integer, text
from ray_pipeline.providers.alpha_vantage import PROVIDER as ALPHA_VANTAGE
from ray_pipeline.schedules.cron import NEW_YORK, Cron

FUNDS = "SELECT symbol FROM etf_basic_info ORDER BY popularity_rank NULLS LAST, symbol"


@dataclass(frozen=True, slots=True)
class EtfProfile:
    """A fund; ratios are fractions, not percent."""

    symbol: str
    net_assets: int | None  # USD
    net_expense_ratio: Decimal | None
    portfolio_turnover: Decimal | None
    dividend_yield: Decimal | None
    inception_date: date | None
    leveraged: str | None
    sectors: list[Json]
    holdings: list[Json]
    source: str


def plan(run: Run) -> Iterator[Request]:
    """One request a fund."""
    for symbol in run.values("funds", "symbol"):
        yield Request(symbol, "/query", {"function": "ETF_PROFILE", "symbol": symbol})


def parse(body: Json, request: Request, _run: Run) -> Iterator[EtfProfile]:
    """
    Read a profile; 'n/a' is NULL.

    {"net_assets": "440300000000", "net_expense_ratio": "0.0018", "sectors": [...], ...}
    """
    if "net_assets" not in body:
        raise ValueError("no net_assets: this is no profile")
    yield EtfProfile(
        symbol=request.item,
        net_assets=integer(body["net_assets"]),
        net_expense_ratio=decimal(body.get("net_expense_ratio")),
        portfolio_turnover=decimal(body.get("portfolio_turnover")),
        dividend_yield=decimal(body.get("dividend_yield")),
        inception_date=day(body.get("inception_date")),
        leveraged=text(body.get("leveraged")),
        sectors=body.get("sectors") or [],
        holdings=body.get("holdings") or [],
        source="alpha_vantage",
    )


SPEC = JobSpec(
    name="etf_profile",
    title="Profiles and holdings of 60 ETFs, 15 a day",
    sources=(Source(ALPHA_VANTAGE, plan, parse),),
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
