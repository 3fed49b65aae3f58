"""News with its sentiment: 25 queries a day, which differ by weekday."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from urllib.parse import parse_qsl
from zoneinfo import ZoneInfo

from ray_pipeline.jobs._news_queries import QUERIES
from ray_pipeline.jobs.columns import column, read_row, table_row
from ray_pipeline.jobs.spec import VARIES, Empty, JobSpec, Json, Request, Run, Source, each
from ray_pipeline.jobs.table import Range, Table
from ray_pipeline.providers.alpha_vantage import PROVIDER as ALPHA_VANTAGE
from ray_pipeline.schedules.cron import NEW_YORK, Cron


@table_row
class SentimentArticle:
    """An article, with the batch and the query that returned it first."""

    batch_id: int
    url: str
    title: str
    time_published: datetime
    authors: str | None = column(read=lambda names: ", ".join(names or ()) or None)
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
    yield from each(body["feed"], lambda item: _rows(item, request, run.batch))


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
