"""Market news of a day, from NewsAPI: headlines by category, by theme and by publisher."""

from collections.abc import Iterator
from datetime import datetime, timedelta

from ray_pipeline.errors import BadValue
from ray_pipeline.jobs.columns import column, read_row, table_row
from ray_pipeline.jobs.spec import (
    VARIES,
    Empty,
    JobSpec,
    Json,
    Request,
    Run,
    Source,
    check_one_of,
    each,
)
from ray_pipeline.jobs.table import Table
from ray_pipeline.jobs.values import at, elements, text
from ray_pipeline.providers.newsapi import PROVIDER as NEWSAPI
from ray_pipeline.schedules.cron import Cron

CATEGORIES = ("business", "technology", "general", "science")
THEMES = (
    "economy", "business", "technology", "IPO", "inflation", "tariff", "trade war", "sanctions",
    "war", "politics", "election", "government policy", "congress", "diplomatic", "nuclear",
    "military"
)  # fmt: skip
PUBLISHERS = (
    "bloomberg", "reuters", "cnbc", "the-wall-street-journal", "business-insider",
    "financial-times"
)  # fmt: skip
REMOVED = "[Removed]"  # the title of a withdrawn article


def _publisher(source: Json) -> str | None:
    return text(at(source, "name"))


@table_row
class MarketNews:
    """An article."""

    source: str = column(read=_publisher, otherwise="")
    url: str
    author: str | None
    title: str
    description: str | None
    content: str | None
    published_at: datetime = column("publishedAt")
    provider: str = "newsapi"


def plan(run: Run) -> Iterator[Request]:
    """Make 26 requests; the themes are those of yesterday, because free plans lag by a day."""
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


def parse(body: Json, request: Request, _run: Run) -> Iterator[object]:
    """
    Read articles.

    {"status": "ok", "articles": [{"source": {"id": null, "name": "Example"}, "title": ...,
     "url": ..., "publishedAt": "2026-05-15T16:16:00Z", ...}, ...]}
    """
    articles = elements(body["articles"])
    if not articles and at(body, "totalResults"):
        raise BadValue(f"none of {body['totalResults']} articles")
    if publisher := request.params.get("sources"):
        sources = (at(article, "source", "id") for article in articles if isinstance(article, dict))
        check_one_of((name for name in sources if isinstance(name, str)), publisher)
    yield from each(articles, _row)


def _row(article: Json) -> MarketNews | None:
    return None if article.get("title") == REMOVED else read_row(MarketNews, article)


SPEC = JobSpec(
    name="market_news",
    title="Market news by category, theme and publisher",
    sources=(Source(NEWSAPI, plan, parse, empty=Empty.SOMETIMES, least=VARIES),),
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
