"""The crypto market as a whole, every six hours."""

from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal

from ray_pipeline.jobs.columns import column, read_row, table_row
from ray_pipeline.jobs.spec import WHOLE, Empty, JobSpec, Json, Request, Run, Source, each, one_call
from ray_pipeline.jobs.table import Range, Table
from ray_pipeline.jobs.values import from_unix
from ray_pipeline.providers.coingecko import PROVIDER as COINGECKO
from ray_pipeline.schedules.cron import Cron


@table_row
class GlobalMarket:
    """The whole market at one slot."""

    active_cryptocurrencies: int | None
    upcoming_icos: int | None
    ongoing_icos: int | None
    ended_icos: int | None
    markets: int | None
    total_market_cap_usd: Decimal | None = column("total_market_cap", "usd", required=True)
    total_market_cap_krw: Decimal | None = column("total_market_cap", "krw")
    total_market_cap_btc: Decimal | None = column("total_market_cap", "btc")
    total_market_cap_eth: Decimal | None = column("total_market_cap", "eth")
    total_volume_usd: Decimal | None = column("total_volume", "usd")
    total_volume_krw: Decimal | None = column("total_volume", "krw")
    total_volume_btc: Decimal | None = column("total_volume", "btc")
    total_volume_eth: Decimal | None = column("total_volume", "eth")
    # Percent; NULL for a coin that is not among the ten that CoinGecko lists.
    btc_dominance: Decimal | None = column("market_cap_percentage", "btc")
    eth_dominance: Decimal | None = column("market_cap_percentage", "eth")
    bnb_dominance: Decimal | None = column("market_cap_percentage", "bnb")
    xrp_dominance: Decimal | None = column("market_cap_percentage", "xrp")
    ada_dominance: Decimal | None = column("market_cap_percentage", "ada")
    sol_dominance: Decimal | None = column("market_cap_percentage", "sol")
    doge_dominance: Decimal | None = column("market_cap_percentage", "doge")
    market_cap_change_percentage_24h_usd: Decimal | None
    market_cap_percentage_json: Json
    total_market_cap_json: Json
    total_volume_json: Json
    coingecko_updated_at: datetime | None = column("updated_at", read=from_unix)
    collected_at: datetime


def parse(body: Json, _request: Request, run: Run) -> Iterator[object]:
    """Read {"data": {"markets": 616, "total_market_cap": {"usd": 2142953338976.9, ...}, ...}}."""
    yield from each([body["data"]], lambda data: _row(data, run))


def _row(data: Json, run: Run) -> GlobalMarket:
    return read_row(
        GlobalMarket,
        data,
        # An answer without one of these objects is not the global market.
        market_cap_percentage_json=data["market_cap_percentage"],
        total_market_cap_json=data["total_market_cap"],
        total_volume_json=data["total_volume"],
        collected_at=run.slot,
    )


SPEC = JobSpec(
    name="coingecko_global",
    title="The crypto market as a whole: capitalisation, volume, dominance",
    sources=(Source(COINGECKO, one_call("/global"), parse, empty=Empty.FAILURE, least=WHOLE),),
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
