"""Perpetuals and dated futures of every exchange that CoinGecko knows, daily."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from ray_pipeline.jobs._coingecko import batch_id
from ray_pipeline.jobs.spec import JobSpec, Json, Request, Run, Source, each
from ray_pipeline.jobs.table import Range, Table
from ray_pipeline.jobs.values import decimal, from_unix, required, text
from ray_pipeline.providers.coingecko import PROVIDER as COINGECKO
from ray_pipeline.schedules.cron import Cron


@dataclass(frozen=True, slots=True)
class Derivative:
    """One contract of one batch."""

    batch_id: str
    market: str
    symbol: str
    index_id: str
    price: Decimal | None
    price_percentage_change_24h: Decimal | None
    index_price: Decimal | None
    contract_type: str
    basis: Decimal | None
    spread: Decimal | None
    funding_rate: Decimal | None
    open_interest_usd: Decimal | None
    volume_24h_usd: Decimal | None
    last_traded_at: datetime | None
    expired_at: datetime | None
    collected_at: datetime


def plan(_run: Run) -> Iterator[Request]:
    """One call brings all."""
    yield Request(item="", path="/derivatives")


def parse(body: Json, _request: Request, run: Run) -> Iterator[object]:
    """
    Read contracts; what has no figure stays without one, since a 0 would enter the means.

    [{"market": "Bybit", "symbol": "BTCUSD", "index_id": "BTC", "price": "43744.0",
      "contract_type": "perpetual", "last_traded_at": 1621346363, "expired_at": null}, ...]
    """
    yield from each(body, lambda contract: _row(contract, run))


def _row(contract: Json, run: Run) -> Derivative:
    return Derivative(
        batch_id=batch_id(run.slot),
        market=required(contract["market"]),
        symbol=required(contract["symbol"]),
        index_id=required(contract["index_id"]).upper(),
        price=decimal(contract.get("price")),
        price_percentage_change_24h=decimal(contract.get("price_percentage_change_24h")),
        index_price=decimal(contract.get("index")),
        contract_type=text(contract.get("contract_type")) or "unknown",
        basis=decimal(contract.get("basis")),
        spread=decimal(contract.get("spread")),
        funding_rate=decimal(contract.get("funding_rate")),
        open_interest_usd=decimal(contract.get("open_interest")),
        volume_24h_usd=decimal(contract.get("volume_24h")),
        last_traded_at=from_unix(contract.get("last_traded_at")),
        expired_at=from_unix(contract.get("expired_at")),
        collected_at=run.slot,
    )


SPEC = JobSpec(
    name="coingecko_derivatives",
    title="Crypto derivatives: funding, open interest, basis",
    sources=(Source(COINGECKO, plan, parse, empty=False),),
    tables=(
        Table(
            "coingecko_derivatives",
            Derivative,
            key=("batch_id", "market", "symbol", "contract_type"),
            touched="updated_at",
            ranges=(Range("price", 0), Range("funding_rate", -100, 100)),
        ),
    ),
    schedule=Cron("35 0 * * *"),
)
