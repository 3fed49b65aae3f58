"""Descriptions, links, prices and activity of CoinGecko's first 1,000 coins, each monthly."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal

from ray_pipeline.jobs.spec import JobSpec, Json, Request, Run, Source, each
from ray_pipeline.jobs.table import Range, Table
from ray_pipeline.jobs.values import at, day, decimal, instant, integer, required, text
from ray_pipeline.providers.coingecko import PROVIDER as COINGECKO
from ray_pipeline.schedules.cron import Cron

DESCRIPTION_LIMIT = 5_000


@dataclass(frozen=True, slots=True)
class CoinDetails:
    """One coin."""

    coingecko_id: str
    symbol: str
    name: str
    web_slug: str | None
    description_en: str | None
    genesis_date: date | None
    country_origin: str | None
    homepage_url: str | None
    blockchain_site: str | None
    twitter_screen_name: str | None
    facebook_username: str | None
    telegram_channel_identifier: str | None
    subreddit_url: str | None
    github_repos: Json
    image_thumb: str | None
    image_small: str | None
    image_large: str | None
    categories: list[str]
    current_price_usd: Decimal | None
    current_price_krw: Decimal | None
    market_cap_usd: int | None
    market_cap_rank: int | None
    total_volume_usd: int | None
    ath_usd: Decimal | None
    ath_change_percentage: Decimal | None
    ath_date: datetime | None
    atl_usd: Decimal | None
    atl_change_percentage: Decimal | None
    atl_date: datetime | None
    total_supply: Decimal | None
    circulating_supply: Decimal | None
    max_supply: Decimal | None
    price_change_24h_usd: Decimal | None
    price_change_percentage_24h: Decimal | None
    price_change_percentage_7d: Decimal | None
    price_change_percentage_30d: Decimal | None
    community_score: Decimal | None
    twitter_followers: int | None
    reddit_subscribers: int | None
    telegram_channel_user_count: int | None
    developer_score: Decimal | None
    forks: int | None
    stars: int | None
    total_issues: int | None
    closed_issues: int | None
    commit_count_4_weeks: int | None
    public_interest_score: Decimal | None
    liquidity_score: Decimal | None
    coingecko_last_updated: datetime | None


def plan(run: Run) -> Iterator[Request]:
    """One request a coin, the largest first."""
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


def parse(body: Json, _request: Request, _run: Run) -> Iterator[object]:
    """Read one coin: {"id": "bitcoin", "links": {...}, "market_data": {...}, ...}."""
    yield from each([body], _details)


def _details(coin: Json) -> CoinDetails:
    market, links = coin.get("market_data"), coin.get("links")
    return CoinDetails(
        coingecko_id=required(coin["id"]),
        symbol=required(coin["symbol"]).upper(),
        name=required(coin["name"]),
        web_slug=text(coin.get("web_slug")),
        description_en=text(at(coin, "description", "en"), DESCRIPTION_LIMIT),
        genesis_date=day(coin.get("genesis_date")),
        country_origin=text(coin.get("country_origin")),
        homepage_url=text(at(links, "homepage", 0)),
        blockchain_site=text(at(links, "blockchain_site", 0)),
        twitter_screen_name=text(at(links, "twitter_screen_name")),
        facebook_username=text(at(links, "facebook_username")),
        telegram_channel_identifier=text(at(links, "telegram_channel_identifier")),
        subreddit_url=text(at(links, "subreddit_url")),
        github_repos=at(links, "repos_url"),
        image_thumb=text(at(coin, "image", "thumb")),
        image_small=text(at(coin, "image", "small")),
        image_large=text(at(coin, "image", "large")),
        # Readers skip a coin without a list, so it is never NULL.
        categories=[str(one) for one in coin.get("categories") or () if one],
        current_price_usd=decimal(at(market, "current_price", "usd")),
        current_price_krw=decimal(at(market, "current_price", "krw")),
        market_cap_usd=integer(at(market, "market_cap", "usd")),
        market_cap_rank=integer(at(market, "market_cap_rank") or coin.get("market_cap_rank")),
        total_volume_usd=integer(at(market, "total_volume", "usd")),
        ath_usd=decimal(at(market, "ath", "usd")),
        ath_change_percentage=decimal(at(market, "ath_change_percentage", "usd")),
        ath_date=instant(at(market, "ath_date", "usd")),
        atl_usd=decimal(at(market, "atl", "usd")),
        atl_change_percentage=decimal(at(market, "atl_change_percentage", "usd")),
        atl_date=instant(at(market, "atl_date", "usd")),
        total_supply=decimal(at(market, "total_supply")),
        circulating_supply=decimal(at(market, "circulating_supply")),
        max_supply=decimal(at(market, "max_supply")),
        price_change_24h_usd=decimal(at(market, "price_change_24h")),
        price_change_percentage_24h=decimal(at(market, "price_change_percentage_24h")),
        price_change_percentage_7d=decimal(at(market, "price_change_percentage_7d")),
        price_change_percentage_30d=decimal(at(market, "price_change_percentage_30d")),
        community_score=decimal(coin.get("community_score")),
        twitter_followers=integer(at(coin, "community_data", "twitter_followers")),
        reddit_subscribers=integer(at(coin, "community_data", "reddit_subscribers")),
        telegram_channel_user_count=integer(
            at(coin, "community_data", "telegram_channel_user_count")
        ),
        developer_score=decimal(coin.get("developer_score")),
        forks=integer(at(coin, "developer_data", "forks")),
        stars=integer(at(coin, "developer_data", "stars")),
        total_issues=integer(at(coin, "developer_data", "total_issues")),
        closed_issues=integer(at(coin, "developer_data", "closed_issues")),
        commit_count_4_weeks=integer(at(coin, "developer_data", "commit_count_4_weeks")),
        public_interest_score=decimal(coin.get("public_interest_score")),
        liquidity_score=decimal(coin.get("liquidity_score")),
        coingecko_last_updated=instant(coin.get("last_updated")),
    )


SPEC = JobSpec(
    name="coingecko_coin_details",
    title="Details of CoinGecko's first 1,000 coins",
    sources=(Source(COINGECKO, plan, parse, empty=False),),
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
