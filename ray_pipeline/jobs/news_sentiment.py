"""News with its sentiment: 25 queries a day, which differ by weekday."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from urllib.parse import parse_qsl
from zoneinfo import ZoneInfo

from ray_pipeline.errors import BadValue
from ray_pipeline.jobs._news_queries import QUERIES
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
from ray_pipeline.jobs.table import Range, Table
from ray_pipeline.jobs.values import at, elements, required, whole
from ray_pipeline.providers.alpha_vantage import PROVIDER as ALPHA_VANTAGE
from ray_pipeline.schedules.cron import NEW_YORK, Cron


def _names(value: Json) -> str | None:
    return ", ".join(required(name) for name in elements(value)) or None


@table_row
class SentimentArticle:
    """An article, with the batch and the query that returned it first."""

    batch_id: int
    url: str
    title: str
    time_published: datetime
    authors: str | None = column(read=_names)
    summary: str | None
    source: str | None
    overall_sentiment_score: Decimal | None  # -1 bearish to 1 bullish
    overall_sentiment_label: str = column(otherwise="Neutral")
    ticker_sentiment: list[Json] | None
    topics: list[Json] | None
    query_type: str
    query_params: str
    provider: str = "alpha_vantage"


@dataclass(frozen=True, slots=True)
class ArticleQuery:
    """A query that returned an article."""

    url: str
    query_type: str
    query_params: str


def plan(run: Run) -> Iterator[Request]:
    """Make the 25 requests of the slot's weekday in New York."""
    weekday = run.slot.astimezone(ZoneInfo(NEW_YORK)).weekday()
    for kind, query in QUERIES[weekday]:
        params = {"function": "NEWS_SENTIMENT"} | dict(parse_qsl(query))
        yield Request(kind, "/query", params, facts={"query": query})


def parse(body: Json, request: Request, run: Run) -> Iterator[object]:
    """
    Read the feed.

    {"items": "50", "feed": [{"title": ..., "url": ..., "time_published": "20260515T161600",
     "authors": [...], "overall_sentiment_score": 0.1, "ticker_sentiment": [...], ...}, ...]}
    """
    feed, items = elements(body["feed"]), body.get("items")
    if items is not None and whole(items) != len(feed):
        raise BadValue(f"{len(feed)} of {items} articles")
    if tickers := request.params.get("tickers"):
        _check_tickers(feed, tickers)
    yield from each(feed, lambda item: _rows(item, request, run.batch))


def _check_tickers(feed: list[Json], requested: str) -> None:
    """Check that an article is about one of the requested tickers; each article names its own."""
    listed = [at(item, "ticker_sentiment") for item in feed if isinstance(item, dict)]
    entries = [entry for entries in listed if isinstance(entries, list) for entry in entries]
    names = {entry["ticker"] for entry in entries if isinstance(at(entry, "ticker"), str)}
    if names.isdisjoint(requested.split(",")):
        check_one_of(names, requested)


def _rows(item: Json, request: Request, batch: int) -> tuple[SentimentArticle, ArticleQuery]:
    kind, query = request.item, request.facts["query"]
    article = read_row(SentimentArticle, item, batch_id=batch, query_type=kind, query_params=query)
    return article, ArticleQuery(article.url, kind, query)


FIRST = ("batch_id", "query_type", "query_params", "time_published")

SPEC = JobSpec(
    name="news_sentiment",
    title="News with sentiment, 25 questions a day by weekday",
    sources=(Source(ALPHA_VANTAGE, plan, parse, empty=Empty.SOMETIMES, least=VARIES),),
    tables=(
        Table(
            "market_news_sentiment",
            SentimentArticle,
            key=("url",),
            keep=FIRST,
            event="time_published",
            ranges=(Range("overall_sentiment_score", -1, 1),),
        ),
        Table(
            "market_news_sentiment_queries", ArticleQuery, key=("url", "query_type"), replace=False
        ),
    ),
    schedule=Cron("0 9 * * *", NEW_YORK),
    typical_items=25,
    batched="market_news_sentiment",
    catch_up="none",
)
