"""Descriptions, links, prices and activity of CoinGecko's first 1,000 coins, each monthly."""

from collections.abc import Iterator
from datetime import date, datetime, timedelta
from decimal import Decimal

from ray_pipeline.jobs.columns import column, read_row, table_row
from ray_pipeline.jobs.spec import (
    WHOLE,
    Empty,
    JobSpec,
    Json,
    Request,
    Run,
    Source,
    check_item,
    each,
)
from ray_pipeline.jobs.table import Range, Table
from ray_pipeline.jobs.values import at, elements, integer, text, upper
from ray_pipeline.providers.coingecko import PROVIDER as COINGECKO
from ray_pipeline.schedules.cron import Cron

DESCRIPTION_LIMIT = 5_000


def _description(value: Json) -> str | None:
    return text(value, DESCRIPTION_LIMIT)


def _categories(value: Json) -> list[str] | None:
    names = [text(category) for category in elements(value)]
    return [name for name in names if name] or None


@table_row
class CoinDetails:
    """One coin."""

    coingecko_id: str = column("id")
    symbol: str = column(read=upper)
    name: str
    web_slug: str | None
    description_en: str | None = column("description", "en", read=_description)
    genesis_date: date | None
    country_origin: str | None
    homepage_url: str | None = column("links", "homepage", 0)
    blockchain_site: str | None = column("links", "blockchain_site", 0)
    twitter_screen_name: str | None = column("links", "twitter_screen_name")
    facebook_username: str | None = column("links", "facebook_username")
    telegram_channel_identifier: str | None = column("links", "telegram_channel_identifier")
    subreddit_url: str | None = column("links", "subreddit_url")
    github_repos: Json = column("links", "repos_url")
    image_thumb: str | None = column("image", "thumb")
    image_small: str | None = column("image", "small")
    image_large: str | None = column("image", "large")
    categories: list[str] = column(read=_categories)
    current_price_usd: Decimal | None = column("market_data", "current_price", "usd")
    current_price_krw: Decimal | None = column("market_data", "current_price", "krw")
    market_cap_usd: int | None = column("market_data", "market_cap", "usd")
    market_cap_rank: int | None
    total_volume_usd: int | None = column("market_data", "total_volume", "usd")
    ath_usd: Decimal | None = column("market_data", "ath", "usd")
    ath_change_percentage: Decimal | None = column("market_data", "ath_change_percentage", "usd")
    ath_date: datetime | None = column("market_data", "ath_date", "usd")
    atl_usd: Decimal | None = column("market_data", "atl", "usd")
    atl_change_percentage: Decimal | None = column("market_data", "atl_change_percentage", "usd")
    atl_date: datetime | None = column("market_data", "atl_date", "usd")
    total_supply: Decimal | None = column("market_data", "total_supply")
    circulating_supply: Decimal | None = column("market_data", "circulating_supply")
    max_supply: Decimal | None = column("market_data", "max_supply")
    price_change_24h_usd: Decimal | None = column("market_data", "price_change_24h")
    price_change_percentage_24h: Decimal | None = column(
        "market_data", "price_change_percentage_24h"
    )
    price_change_percentage_7d: Decimal | None = column("market_data", "price_change_percentage_7d")
    price_change_percentage_30d: Decimal | None = column(
        "market_data", "price_change_percentage_30d"
    )
    community_score: Decimal | None
    twitter_followers: int | None = column("community_data", "twitter_followers")
    reddit_subscribers: int | None = column("community_data", "reddit_subscribers")
    telegram_channel_user_count: int | None = column(
        "community_data", "telegram_channel_user_count"
    )
    developer_score: Decimal | None
    forks: int | None = column("developer_data", "forks")
    stars: int | None = column("developer_data", "stars")
    total_issues: int | None = column("developer_data", "total_issues")
    closed_issues: int | None = column("developer_data", "closed_issues")
    commit_count_4_weeks: int | None = column("developer_data", "commit_count_4_weeks")
    public_interest_score: Decimal | None
    liquidity_score: Decimal | None
    coingecko_last_updated: datetime | None = column("last_updated")


def plan(run: Run) -> Iterator[Request]:
    """Make one request for each coin, the largest coins first."""
    for coin in run.values("coins", "coingecko_id"):
        yield Request(
            item=coin,
            path=f"/coins/{coin}",
            params={
                "localization": "false",
                "tickers": "false",
                "market_data": "true",
                "community_data": "true",
                "developer_data": "true",
                "sparkline": "false",
            },
        )


def parse(body: Json, request: Request, _run: Run) -> Iterator[object]:
    """Read one coin: {"id": "bitcoin", "links": {...}, "market_data": {...}, ...}."""
    check_item(body.get("id"), request.item)
    yield from each([body], _details)


def _details(coin: Json) -> CoinDetails:
    rank = at(coin, "market_data", "market_cap_rank") or coin.get("market_cap_rank")
    return read_row(CoinDetails, coin, market_cap_rank=integer(rank))


SPEC = JobSpec(
    name="coingecko_coin_details",
    title="Details of CoinGecko's first 1,000 coins",
    sources=(Source(COINGECKO, plan, parse, empty=Empty.UNKNOWN, least=WHOLE),),
    tables=(
        Table(
            "coingecko_coin_details",
            CoinDetails,
            key=("coingecko_id",),
            touched="updated_at",
            ranges=(Range("current_price_usd", 0),),
        ),
    ),
    schedule=Cron("25 1 * * *"),
    inputs={
        "coins": "SELECT coingecko_id FROM coingecko_id_mapping WHERE market_cap_rank <= 1000 "
        "ORDER BY market_cap_rank, coingecko_id"
    },
    refresh=timedelta(days=30),
    batch=150,
    typical_items=1000,
    depends=("coingecko_id_mapping",),
)
