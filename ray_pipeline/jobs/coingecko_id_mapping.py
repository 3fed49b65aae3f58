"""CoinGecko's coins by market capitalisation: ids, symbols, prices."""

from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal

from ray_pipeline.jobs._coingecko import next_page
from ray_pipeline.jobs.columns import column, read_row, table_row
from ray_pipeline.jobs.spec import WHOLE, Empty, JobSpec, Json, Request, Run, Source, each, one_call
from ray_pipeline.jobs.table import Range, Table
from ray_pipeline.jobs.values import decimal, integer, upper
from ray_pipeline.providers.coingecko import PROVIDER as COINGECKO
from ray_pipeline.schedules.cron import Cron

PAGES = 20
COINS_A_PAGE = 250
PARAMS = {
    "vs_currency": "usd",
    "order": "market_cap_desc",
    "per_page": str(COINS_A_PAGE),
    "page": "1",
    "sparkline": "false",
    "price_change_percentage": "24h",
    "precision": "full",
}


# CoinGecko writes 0 where it has no value.
def _integer(value: Json) -> int | None:
    return integer(value) or None


def _decimal(value: Json) -> Decimal | None:
    return decimal(value) or None


@table_row
class Coin:
    """One coin as it is now."""

    coingecko_id: str = column("id")
    symbol: str = column(read=upper)
    name: str
    image_url: str | None = column("image")
    current_price_usd: Decimal | None = column("current_price")
    market_cap_usd: int | None = column("market_cap", read=_integer)
    market_cap_rank: int | None
    total_volume_usd: int | None = column("total_volume")
    ath_usd: Decimal | None = column("ath")
    ath_date: datetime | None
    atl_usd: Decimal | None = column("atl")
    atl_date: datetime | None
    circulating_supply: Decimal | None = column(read=_decimal)
    total_supply: Decimal | None = column(read=_decimal)
    max_supply: Decimal | None = column(read=_decimal)
    last_updated: datetime | None


def follow(body: Json, request: Request, _run: Run) -> Request | None:
    """Return the next page, until a page is not full or 5,000 coins are collected."""
    if len(body) < COINS_A_PAGE or request.page + 1 >= PAGES:
        return None
    return next_page(request, request.facts)


def parse(body: Json, _request: Request, _run: Run) -> Iterator[object]:
    """
    Read coins; a coin may lack a price.

    [{"id": "bitcoin", "symbol": "btc", "current_price": 49053, ...}, ...]
    """
    yield from each(body, lambda coin: read_row(Coin, coin))


SPEC = JobSpec(
    name="coingecko_id_mapping",
    title="CoinGecko's first 5,000 coins: ids, symbols, prices",
    sources=(
        Source(
            COINGECKO,
            one_call("/coins/markets", PARAMS, item="markets"),
            parse,
            follow=follow,
            empty=Empty.FAILURE,
            least=WHOLE,
        ),
    ),
    tables=(
        Table(
            "coingecko_id_mapping",
            Coin,
            key=("coingecko_id",),
            touched="updated_at",
            ranges=(Range("current_price_usd", 0), Range("market_cap_usd", 0)),
        ),
    ),
    schedule=Cron("5 0 * * *"),
    pages=PAGES,
)
