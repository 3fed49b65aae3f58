"""Finnhub's market news, four categories, what is newer than what we have."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from ray_pipeline.jobs.spec import JobSpec, Json, Request, Run, Source, each
from ray_pipeline.jobs.table import Table
from ray_pipeline.jobs.values import from_unix, required, text
from ray_pipeline.providers.finnhub import PROVIDER as FINNHUB
from ray_pipeline.schedules.cron import Cron

CATEGORIES = ("crypto", "forex", "merger", "general")
NEWEST = "SELECT category, max(news_id) AS news_id FROM market_news_finnhub GROUP BY category"


@dataclass(frozen=True, slots=True)
class FinnhubNews:
    """An article of a category."""

    category: str
    news_id: int
    datetime: datetime
    headline: str | None
    image: str | None
    related: str | None
    source: str | None
    summary: str | None
    url: str | None
    provider: str


def plan(run: Run) -> Iterator[Request]:
    """One request a category, from the newest number on."""
    newest = {str(row["category"]): str(row["news_id"]) for row in run.rows("newest")}
    for category in CATEGORIES:
        params = {"category": category}
        if category in newest:
            params["minId"] = newest[category]
        yield Request(category, "/news", params)


def parse(body: Json, request: Request, _run: Run) -> Iterator[object]:
    """
    Read articles.

    [{"category": "top news", "datetime": 1596589501, "headline": ..., "id": 5085164, ...}, ...]
    """
    yield from each(body, lambda article: _row(article, request.item))


def _row(article: Json, category: str) -> FinnhubNews:
    published = from_unix(article["datetime"])
    if published is None:
        raise ValueError("no datetime")
    return FinnhubNews(
        category=category,
        news_id=int(required(article["id"])),
        datetime=published,
        headline=text(article.get("headline")) or "",
        image=text(article.get("image")) or "",
        related=text(article.get("related")) or "",
        source=text(article.get("source")) or "",
        summary=text(article.get("summary")) or "",
        url=text(article.get("url")) or "",
        provider="finnhub",
    )


SPEC = JobSpec(
    name="market_news_finnhub",
    title="Finnhub's market news: crypto, forex, mergers, general",
    sources=(Source(FINNHUB, plan, parse),),
    tables=(
        Table(
            "market_news_finnhub",
            FinnhubNews,
            key=("category", "news_id"),
            touched="fetched_at",
            event="datetime",
        ),
    ),
    schedule=Cron("30 * * * *"),
    inputs={"newest": NEWEST},
    typical_items=4,
)
