"""Market news of a day, from NewsAPI: headlines by category, by theme and by publisher."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from ray_pipeline.jobs.spec import JobSpec, Json, Request, Run, Source, each
from ray_pipeline.jobs.table import Table
from ray_pipeline.jobs.values import instant, required, text
from ray_pipeline.providers.newsapi import PROVIDER as NEWSAPI
from ray_pipeline.schedules.cron import Cron

CATEGORIES = ("business", "technology", "general", "science")
THEMES = (
    "economy", "business", "technology", "IPO", "inflation", "tariff", "trade war", "sanctions",
    "war", "politics", "election", "government policy", "congress", "diplomatic", "nuclear",
    "military",
)  # fmt: skip
PUBLISHERS = (
    "bloomberg", "reuters", "cnbc", "the-wall-street-journal", "business-insider",
    "financial-times",
)  # fmt: skip
REMOVED = "[Removed]"  # what is left of an article that was withdrawn


@dataclass(frozen=True, slots=True)
class MarketNews:
    """An article."""

    source: str
    url: str
    author: str | None
    title: str
    description: str | None
    content: str | None
    published_at: datetime
    provider: str


def plan(run: Run) -> Iterator[Request]:
    """26 questions; themes are asked for yesterday, because a free plan's news are a day old."""
    for category in CATEGORIES:
        params = {"category": category, "country": "us", "pageSize": "100"}
        yield Request(f"category {category}", "/top-headlines", params)
    yesterday = (run.slot - timedelta(days=1)).date().isoformat()
    for theme in THEMES:
        params = {
            "q": theme,
            "from": yesterday,
            "to": yesterday,
            "sortBy": "popularity",
            "language": "en",
            "pageSize": "30",
        }
        yield Request(f"theme {theme}", "/everything", params)
    for publisher in PUBLISHERS:
        params = {"sources": publisher, "pageSize": "20"}
        yield Request(f"publisher {publisher}", "/top-headlines", params)


def parse(body: Json, _request: Request, _run: Run) -> Iterator[object]:
    """
    Read articles.

    {"status": "ok", "articles": [{"source": {"id": null, "name": "Example"}, "title": ...,
     "url": ..., "publishedAt": "2026-05-15T16:16:00Z", ...}, ...]}
    """
    yield from each(body["articles"], _row)


def _row(article: Json) -> MarketNews | None:
    if article.get("title") == REMOVED:
        return None
    published = instant(article["publishedAt"])
    if published is None:
        raise ValueError("no publishedAt")
    return MarketNews(
        source=text((article.get("source") or {}).get("name")) or "",
        url=required(article["url"]),
        author=text(article.get("author")),
        title=required(article["title"]),
        description=text(article.get("description")),
        content=text(article.get("content")),
        published_at=published,
        provider="newsapi",
    )


SPEC = JobSpec(
    name="market_news",
    title="Market news by category, theme and publisher",
    sources=(Source(NEWSAPI, plan, parse),),
    tables=(
        Table(
            "market_news",
            MarketNews,
            key=("source", "url"),
            touched="fetched_at",
            event="published_at",
        ),
    ),
    schedule=Cron("0 4 * * *"),
    typical_items=26,
)
