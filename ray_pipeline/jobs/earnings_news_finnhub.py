"""News before a company reports: two weeks of it, for each report of the next two weeks."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from ray_pipeline.jobs.spec import UNREADABLE, JobSpec, Json, Request, Run, Source, Unparsed
from ray_pipeline.jobs.table import Table
from ray_pipeline.jobs.values import from_unix, required, text
from ray_pipeline.providers.finnhub import PROVIDER as FINNHUB
from ray_pipeline.schedules.cron import Cron

AHEAD = timedelta(days=14)
BEFORE = timedelta(days=14)
# The index first: the whole market's reports are thousands in season.
EVENTS = """
    SELECT e.symbol, e.report_date, c.company_name
    FROM earnings_calendar AS e JOIN sp500_companies AS c USING (symbol)
    WHERE c.is_member
    ORDER BY e.report_date, e.symbol
"""


@dataclass(frozen=True, slots=True)
class FinnhubArticle:
    """An article about a company that is about to report."""

    symbol: str
    report_date: date
    url: str
    category: str | None
    article_id: str | None
    headline: str | None
    image: str | None
    related: str | None
    source: str | None
    summary: str | None
    published_at: datetime
    provider: str


@dataclass(frozen=True, slots=True)
class EarningsArticle:
    """The same article, as the smaller table has it."""

    symbol: str
    company_name: str
    report_date: date
    source: str
    title: str | None
    url: str
    published_at: datetime
    provider: str


def plan(run: Run) -> Iterator[Request]:
    """One request a report that is due within two weeks of the slot."""
    today = run.slot.date()
    for event in run.rows("events"):
        report = date.fromisoformat(str(event["report_date"]))
        if today <= report <= today + AHEAD:
            params = {
                "symbol": str(event["symbol"]),
                "from": (report - BEFORE).isoformat(),
                "to": report.isoformat(),
            }
            facts = {
                "symbol": str(event["symbol"]),
                "report_date": report.isoformat(),
                "company_name": str(event["company_name"]),
            }
            yield Request(f"{event['symbol']} {report}", "/company-news", params, facts)


def parse(body: Json, request: Request, _run: Run) -> Iterator[object]:
    """
    Read articles, each for both tables.

    [{"category": "company", "datetime": 1569550360, "headline": ..., "id": 25286, ...}, ...]
    """
    for article in body:
        try:
            row = _row(article, request)
        except UNREADABLE as bad:
            yield Unparsed(article, type(bad).__name__, str(bad))
            continue
        yield row
        yield EarningsArticle(
            symbol=row.symbol,
            company_name=request.facts["company_name"],
            report_date=row.report_date,
            source=row.source or "",
            title=row.headline,
            url=row.url,
            published_at=row.published_at,
            provider="finnhub",
        )


def _row(article: Json, request: Request) -> FinnhubArticle:
    published = from_unix(article["datetime"])
    if published is None:
        raise ValueError("no datetime")
    return FinnhubArticle(
        symbol=request.facts["symbol"],
        report_date=date.fromisoformat(request.facts["report_date"]),
        url=required(article["url"]),
        category=text(article.get("category")),
        article_id=text(article.get("id")),
        headline=text(article.get("headline")),
        image=text(article.get("image")),
        related=text(article.get("related")),
        source=text(article.get("source")),
        summary=text(article.get("summary")),
        published_at=published,
        provider="finnhub",
    )


SPEC = JobSpec(
    name="earnings_news_finnhub",
    title="News before the reports of the next two weeks",
    sources=(Source(FINNHUB, plan, parse),),
    tables=(
        Table(
            "earnings_news_finnhub",
            FinnhubArticle,
            key=("symbol", "report_date", "url"),
            touched="fetched_at",
        ),
        Table(
            "earnings_news",
            EarningsArticle,
            key=("symbol", "report_date", "source", "url"),
            touched="fetched_at",
        ),
    ),
    schedule=Cron("40 5 * * *"),
    inputs={"events": EVENTS},
    typical_items=60,
    depends=("earnings_calendar", "sp500_companies"),
)
