"""CoinGecko's coins by market capitalisation: ids, symbols, prices."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from ray_pipeline.jobs._coingecko import next_page
from ray_pipeline.jobs.spec import JobSpec, Json, Request, Run, Source, each
from ray_pipeline.jobs.table import Range, Table
from ray_pipeline.jobs.values import decimal, instant, integer, required, text
from ray_pipeline.providers.coingecko import PROVIDER as COINGECKO
from ray_pipeline.schedules.cron import Cron

PAGES = 20
COINS_A_PAGE = 250


@dataclass(frozen=True, slots=True)
class Coin:
    """One coin as it is now."""

    coingecko_id: str
    symbol: str
    name: str
    image_url: str | None
    current_price_usd: Decimal | None
    market_cap_usd: int | None
    market_cap_rank: int | None
    total_volume_usd: int | None
    ath_usd: Decimal | None
    ath_date: datetime | None
    atl_usd: Decimal | None
    atl_date: datetime | None
    circulating_supply: Decimal | None
    total_supply: Decimal | None
    max_supply: Decimal | None
    last_updated: datetime | None


def plan(_run: Run) -> Iterator[Request]:
    """The first page; the others follow."""
    yield Request(
        item="markets",
        path="/coins/markets",
        params={
            "vs_currency": "usd",
            "order": "market_cap_desc",
            "per_page": str(COINS_A_PAGE),
            "page": "1",
            "sparkline": "false",
            "price_change_percentage": "24h",
            "precision": "full",
        },
    )


def follow(body: Json, request: Request, _run: Run) -> Request | None:
    """The next page, until one is not full or 5,000 coins are there."""
    if len(body) < COINS_A_PAGE or request.page + 1 >= PAGES:
        return None
    return next_page(request, request.facts)


def parse(body: Json, _request: Request, _run: Run) -> Iterator[object]:
    """
    Read coins; a coin without a price is a coin.

    [{"id": "bitcoin", "symbol": "btc", "current_price": 49053, ...}, ...]
    """
    yield from each(body, _coin)


def _coin(coin: Json) -> Coin:
    return Coin(
        coingecko_id=required(coin["id"]),
        symbol=required(coin["symbol"]).upper(),
        name=required(coin["name"]),
        image_url=text(coin.get("image")),
        current_price_usd=decimal(coin.get("current_price")),
        # CoinGecko writes 0 where it has no figure.
        market_cap_usd=integer(coin.get("market_cap")) or None,
        market_cap_rank=integer(coin.get("market_cap_rank")),
        total_volume_usd=integer(coin.get("total_volume")),
        ath_usd=decimal(coin.get("ath")),
        ath_date=instant(coin.get("ath_date")),
        atl_usd=decimal(coin.get("atl")),
        atl_date=instant(coin.get("atl_date")),
        circulating_supply=decimal(coin.get("circulating_supply")) or None,
        total_supply=decimal(coin.get("total_supply")) or None,
        max_supply=decimal(coin.get("max_supply")) or None,
        last_updated=instant(coin.get("last_updated")),
    )


SPEC = JobSpec(
    name="coingecko_id_mapping",
    title="CoinGecko's first 5,000 coins: ids, symbols, prices",
    sources=(Source(COINGECKO, plan, parse, follow=follow, empty=False),),
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
