"""News of the two weeks before each earnings report that is due within two weeks."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from ray_pipeline.jobs._finnhub import check_related
from ray_pipeline.jobs.columns import column, read_row, table_row
from ray_pipeline.jobs.spec import VARIES, Empty, JobSpec, Json, Request, Run, Source, each
from ray_pipeline.jobs.table import Table
from ray_pipeline.jobs.values import from_unix
from ray_pipeline.providers.finnhub import PROVIDER as FINNHUB
from ray_pipeline.schedules.cron import Cron

AHEAD = timedelta(days=14)
BEFORE = timedelta(days=14)
NEWS_EXPECTED = timedelta(days=7)  # a member of the index is in the news once a week
# Only members of the index: in the season, the whole market has thousands of reports.
EVENTS = """
    SELECT e.symbol, e.report_date, c.company_name
    FROM earnings_calendar AS e JOIN sp500_companies AS c USING (symbol)
    WHERE c.is_member
    ORDER BY e.report_date, e.symbol
"""


@table_row
class FinnhubArticle:
    """An article about a company that is about to report."""

    symbol: str
    report_date: date
    url: str
    category: str | None
    article_id: str | None = column("id")
    headline: str | None = column(required=True)
    image: str | None
    related: str | None
    source: str | None
    summary: str | None
    published_at: datetime = column("datetime", read=from_unix)
    provider: str = "finnhub"


@dataclass(frozen=True, slots=True)
class BriefFinnhubArticle:
    """The same article in the columns of the smaller table."""

    symbol: str
    company_name: str
    report_date: date
    source: str
    title: str | None
    url: str
    published_at: datetime
    provider: str


def plan(run: Run) -> Iterator[Request]:
    """Make one request for each report that is due within two weeks of the slot."""
    today = run.slot.date()
    for event in run.rows("events"):
        report = date.fromisoformat(str(event["report_date"]))
        if today <= report <= today + AHEAD:
            symbol, name, day = event["symbol"], str(event["company_name"]), report.isoformat()
            params = {"symbol": symbol, "from": (report - BEFORE).isoformat(), "to": day}
            facts = {"symbol": symbol, "report_date": day, "company_name": name}
            if report - BEFORE > today - NEWS_EXPECTED:
                facts["begun"] = "no"
            yield Request(f"{symbol} {day}", "/company-news", params, facts)


def meaning_of_empty(request: Request) -> Empty:
    """
    Return NORMAL for a report so far ahead that its two weeks of news have just begun; for another
    report SOMETIMES.
    """
    return Empty.NORMAL if request.facts.get("begun") == "no" else Empty.SOMETIMES


def parse(body: Json, request: Request, _run: Run) -> Iterator[object]:
    """
    Read articles; each article gives a row of each table.

    [{"category": "company", "datetime": 1569550360, "headline": ..., "id": 25286, ...}, ...]
    """
    check_related(body, request.facts["symbol"])
    yield from each(body, lambda article: _rows(article, request.facts))


def _rows(article: Json, facts: Mapping[str, str]) -> tuple[FinnhubArticle, BriefFinnhubArticle]:
    report_date = date.fromisoformat(facts["report_date"])
    row = read_row(FinnhubArticle, article, symbol=facts["symbol"], report_date=report_date)
    return row, BriefFinnhubArticle(
        symbol=row.symbol,
        company_name=facts["company_name"],
        report_date=row.report_date,
        source=row.source or "",
        title=row.headline,
        url=row.url,
        published_at=row.published_at,
        provider="finnhub",
    )


SPEC = JobSpec(
    name="earnings_news_finnhub",
    title="News before the reports of the next two weeks",
    sources=(Source(FINNHUB, plan, parse, empty=meaning_of_empty, least=VARIES),),
    tables=(
        Table(
            "earnings_news_finnhub",
            FinnhubArticle,
            key=("symbol", "report_date", "url"),
            touched="fetched_at",
        ),
        Table(
            "earnings_news",
            BriefFinnhubArticle,
            key=("symbol", "report_date", "source", "url"),
            touched="fetched_at",
        ),
    ),
    schedule=Cron("40 5 * * *"),
    inputs={"events": EVENTS},
    typical_items=60,
    depends=("earnings_calendar", "sp500_companies"),
)
