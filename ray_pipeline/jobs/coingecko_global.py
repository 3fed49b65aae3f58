"""The crypto market as a whole, every six hours."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from ray_pipeline.jobs.spec import JobSpec, Json, Request, Run, Source, each
from ray_pipeline.jobs.table import Range, Table
from ray_pipeline.jobs.values import at, decimal, from_unix, integer
from ray_pipeline.providers.coingecko import PROVIDER as COINGECKO
from ray_pipeline.schedules.cron import Cron


@dataclass(frozen=True, slots=True)
class GlobalMarket:
    """The market at one slot."""

    active_cryptocurrencies: int | None
    upcoming_icos: int | None
    ongoing_icos: int | None
    ended_icos: int | None
    markets: int | None
    total_market_cap_usd: Decimal | None
    total_market_cap_krw: Decimal | None
    total_market_cap_btc: Decimal | None
    total_market_cap_eth: Decimal | None
    total_volume_usd: Decimal | None
    total_volume_krw: Decimal | None
    total_volume_btc: Decimal | None
    total_volume_eth: Decimal | None
    btc_dominance: Decimal | None  # percent; None: not among the ten that are listed
    eth_dominance: Decimal | None
    bnb_dominance: Decimal | None
    xrp_dominance: Decimal | None
    ada_dominance: Decimal | None
    sol_dominance: Decimal | None
    doge_dominance: Decimal | None
    market_cap_change_percentage_24h_usd: Decimal | None
    market_cap_percentage_json: Json
    total_market_cap_json: Json
    total_volume_json: Json
    coingecko_updated_at: datetime | None
    collected_at: datetime


def plan(_run: Run) -> Iterator[Request]:
    """One call brings all."""
    yield Request(item="", path="/global")


def parse(body: Json, _request: Request, run: Run) -> Iterator[object]:
    """Read it: {"data": {"markets": 616, "total_market_cap": {"usd": 2142953338976.9, ...}}}."""
    yield from each([body["data"]], lambda data: _row(data, run))


def _row(data: Json, run: Run) -> GlobalMarket:
    cap, volume = data["total_market_cap"], data["total_volume"]
    share = data["market_cap_percentage"]
    return GlobalMarket(
        active_cryptocurrencies=integer(data.get("active_cryptocurrencies")),
        upcoming_icos=integer(data.get("upcoming_icos")),
        ongoing_icos=integer(data.get("ongoing_icos")),
        ended_icos=integer(data.get("ended_icos")),
        markets=integer(data.get("markets")),
        total_market_cap_usd=decimal(at(cap, "usd")),
        total_market_cap_krw=decimal(at(cap, "krw")),
        total_market_cap_btc=decimal(at(cap, "btc")),
        total_market_cap_eth=decimal(at(cap, "eth")),
        total_volume_usd=decimal(at(volume, "usd")),
        total_volume_krw=decimal(at(volume, "krw")),
        total_volume_btc=decimal(at(volume, "btc")),
        total_volume_eth=decimal(at(volume, "eth")),
        btc_dominance=decimal(at(share, "btc")),
        eth_dominance=decimal(at(share, "eth")),
        bnb_dominance=decimal(at(share, "bnb")),
        xrp_dominance=decimal(at(share, "xrp")),
        ada_dominance=decimal(at(share, "ada")),
        sol_dominance=decimal(at(share, "sol")),
        doge_dominance=decimal(at(share, "doge")),
        market_cap_change_percentage_24h_usd=decimal(
            data.get("market_cap_change_percentage_24h_usd")
        ),
        market_cap_percentage_json=share,
        total_market_cap_json=cap,
        total_volume_json=volume,
        coingecko_updated_at=from_unix(data.get("updated_at")),
        collected_at=run.slot,
    )


SPEC = JobSpec(
    name="coingecko_global",
    title="The crypto market as a whole: capitalisation, volume, dominance",
    sources=(Source(COINGECKO, plan, parse, empty=False),),
    tables=(
        Table(
            "coingecko_global",
            GlobalMarket,
            key=("collected_at",),
            touched="updated_at",
            ranges=(Range("btc_dominance", 0, 100), Range("total_market_cap_usd", 0)),
        ),
    ),
    schedule=Cron("10 */6 * * *"),
)
