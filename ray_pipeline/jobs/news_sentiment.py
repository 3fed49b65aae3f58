"""News with its sentiment: 25 questions a day, other ones each weekday."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from urllib.parse import parse_qsl
from zoneinfo import ZoneInfo

from ray_pipeline.jobs._news_queries import QUERIES
from ray_pipeline.jobs.spec import UNREADABLE, JobSpec, Json, Request, Run, Source, Unparsed
from ray_pipeline.jobs.table import Range, Table
from ray_pipeline.jobs.values import decimal, required, text
from ray_pipeline.providers.alpha_vantage import PROVIDER as ALPHA_VANTAGE
from ray_pipeline.schedules.cron import NEW_YORK, Cron


@dataclass(frozen=True, slots=True)
class Article:
    """An article, of the batch and the question that found it first."""

    batch_id: int
    url: str
    title: str
    time_published: datetime
    authors: str | None
    summary: str | None
    source: str | None
    overall_sentiment_score: Decimal | None  # -1 bearish to 1 bullish
    overall_sentiment_label: str
    ticker_sentiment: list[Json] | None
    topics: list[Json] | None
    query_type: str
    query_params: str
    provider: str


@dataclass(frozen=True, slots=True)
class Found:
    """That a question found an article."""

    url: str
    query_type: str
    query_params: str


def plan(run: Run) -> Iterator[Request]:
    """The 25 questions of the slot's weekday in New York."""
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
    for item in body["feed"]:
        try:
            article = _article(item, request, run.batch)
        except UNREADABLE as bad:
            yield Unparsed(item, type(bad).__name__, str(bad))
        else:
            yield article
            yield Found(article.url, request.item, request.facts["query"])


def _article(item: Json, request: Request, batch: int) -> Article:
    published = datetime.strptime(item["time_published"], "%Y%m%dT%H%M%S").replace(tzinfo=UTC)
    return Article(
        batch_id=batch,
        url=required(item["url"]),
        title=required(item["title"]),
        time_published=published,
        authors=", ".join(item.get("authors") or ()) or None,
        summary=text(item.get("summary")),
        source=text(item.get("source")),
        overall_sentiment_score=decimal(item.get("overall_sentiment_score")),
        overall_sentiment_label=text(item.get("overall_sentiment_label")) or "Neutral",
        ticker_sentiment=item.get("ticker_sentiment") or None,
        topics=item.get("topics") or None,
        query_type=request.item,
        query_params=request.facts["query"],
        provider="alpha_vantage",
    )


FIRST = ("batch_id", "query_type", "query_params", "time_published")

SPEC = JobSpec(
    name="news_sentiment",
    title="News with sentiment, 25 questions a day by weekday",
    sources=(Source(ALPHA_VANTAGE, plan, parse),),
    tables=(
        Table(
            "market_news_sentiment",
            Article,
            key=("url",),
            keep=FIRST,
            event="time_published",
            ranges=(Range("overall_sentiment_score", -1, 1),),
        ),
        Table("market_news_sentiment_queries", Found, key=("url", "query_type"), replace=False),
    ),
    schedule=Cron("0 9 * * *", NEW_YORK),
    typical_items=25,
    batched="market_news_sentiment",
    catch_up="none",
)
