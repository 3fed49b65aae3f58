"""News of every S&P 500 company, of the last week, twice a day."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from ray_pipeline.jobs.spec import JobSpec, Json, Request, Run, Source, each
from ray_pipeline.jobs.table import Table
from ray_pipeline.jobs.values import from_unix, required, text
from ray_pipeline.providers.finnhub import PROVIDER as FINNHUB
from ray_pipeline.schedules.cron import Cron

COMPANIES = "SELECT symbol FROM sp500_companies WHERE is_member ORDER BY symbol"
WINDOW = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class CompanyNews:
    """An article about a company."""

    symbol: str
    url: str
    source: str | None
    title: str | None
    description: str | None
    content: str | None
    published_at: datetime
    provider: str


def plan(run: Run) -> Iterator[Request]:
    """One request a company."""
    last = run.slot.date()
    first = last - WINDOW
    for symbol in run.values("companies", "symbol"):
        params = {"symbol": symbol, "from": first.isoformat(), "to": last.isoformat()}
        yield Request(symbol, "/company-news", params)


def parse(body: Json, request: Request, _run: Run) -> Iterator[object]:
    """
    Read articles; the summary is the description and, for want of one, the content.

    [{"category": "company", "datetime": 1569550360, "headline": ..., "url": ..., ...}, ...]
    """
    yield from each(body, lambda article: _row(article, request.item))


def _row(article: Json, symbol: str) -> CompanyNews:
    published = from_unix(article["datetime"])
    if published is None:
        raise ValueError("no datetime")
    return CompanyNews(
        symbol=symbol,
        url=required(article["url"]),
        source=text(article.get("source")),
        title=text(article.get("headline")),
        description=text(article.get("summary")),
        content=text(article.get("summary")),
        published_at=published,
        provider="finnhub",
    )


SPEC = JobSpec(
    name="company_news",
    title="News of every S&P 500 company, twice a day",
    sources=(Source(FINNHUB, plan, parse),),
    tables=(
        Table(
            "company_news",
            CompanyNews,
            key=("symbol", "url"),
            touched="fetched_at",
            event="published_at",
        ),
    ),
    schedule=Cron("0 3,15 * * *"),
    inputs={"companies": COMPANIES},
    refresh=timedelta(hours=11),
    typical_items=503,
    depends=("sp500_companies",),
)
