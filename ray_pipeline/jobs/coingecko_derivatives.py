"""Perpetuals and dated futures of every exchange that CoinGecko knows, daily."""

from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal

from ray_pipeline.jobs._coingecko import batch_id
from ray_pipeline.jobs.columns import column, read_row, table_row
from ray_pipeline.jobs.spec import WHOLE, Empty, JobSpec, Json, Request, Run, Source, each, one_call
from ray_pipeline.jobs.table import Range, Table
from ray_pipeline.jobs.values import from_unix, grouped_decimal, upper
from ray_pipeline.providers.coingecko import PROVIDER as COINGECKO
from ray_pipeline.schedules.cron import Cron


@table_row
class Derivative:
    """One contract of one batch."""

    batch_id: str
    market: str
    symbol: str
    index_id: str = column(read=upper)
    price: Decimal | None = column(read=grouped_decimal)
    price_percentage_change_24h: Decimal | None
    index_price: Decimal | None = column("index")
    contract_type: str = column(otherwise="unknown")
    basis: Decimal | None
    spread: Decimal | None
    funding_rate: Decimal | None
    open_interest_usd: Decimal | None = column("open_interest")
    volume_24h_usd: Decimal | None = column("volume_24h")
    last_traded_at: datetime | None = column(read=from_unix)
    expired_at: datetime | None = column(read=from_unix)
    collected_at: datetime


def parse(body: Json, _request: Request, run: Run) -> Iterator[object]:
    """
    Read contracts. A missing value is NULL, because 0 would change averages.

    [{"market": "Bybit", "symbol": "BTCUSD", "index_id": "BTC", "price": "43744.0",
      "contract_type": "perpetual", "last_traded_at": 1621346363, "expired_at": null}, ...]
    """
    yield from each(body, lambda contract: _row(contract, run))


def _row(contract: Json, run: Run) -> Derivative:
    slot = run.slot
    return read_row(Derivative, contract, batch_id=batch_id(slot), collected_at=slot)


SPEC = JobSpec(
    name="coingecko_derivatives",
    title="Crypto derivatives: funding, open interest, basis",
    sources=(Source(COINGECKO, one_call("/derivatives"), parse, empty=Empty.FAILURE, least=WHOLE),),
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
