"""News of every S&P 500 company, of the last week, twice a day."""

from collections.abc import Iterator
from datetime import datetime, timedelta

from ray_pipeline.jobs._finnhub import check_related
from ray_pipeline.jobs._members import MEMBERS
from ray_pipeline.jobs.columns import column, read_row, table_row
from ray_pipeline.jobs.spec import VARIES, Empty, JobSpec, Json, Request, Run, Source, each
from ray_pipeline.jobs.table import Table
from ray_pipeline.jobs.values import from_unix
from ray_pipeline.providers.finnhub import PROVIDER as FINNHUB
from ray_pipeline.schedules.cron import Cron

WINDOW = timedelta(days=7)


@table_row
class CompanyNews:
    """An article about a company."""

    symbol: str
    url: str
    source: str | None
    title: str | None = column("headline", required=True)
    description: str | None = column("summary")
    content: str | None = column("summary")
    published_at: datetime = column("datetime", read=from_unix)
    provider: str = "finnhub"


def plan(run: Run) -> Iterator[Request]:
    """Make one request for each company."""
    last = run.slot.date()
    first = last - WINDOW
    for symbol in run.values("members", "symbol"):
        params = {"symbol": symbol, "from": first.isoformat(), "to": last.isoformat()}
        yield Request(symbol, "/company-news", params)


def parse(body: Json, request: Request, _run: Run) -> Iterator[object]:
    """
    Read articles. The summary fills both description and content: Finnhub has no content.

    [{"category": "company", "datetime": 1569550360, "headline": ..., "url": ..., ...}, ...]
    """
    check_related(body, request.item)
    yield from each(body, lambda article: read_row(CompanyNews, article, symbol=request.item))


SPEC = JobSpec(
    name="company_news",
    title="News of every S&P 500 company, twice a day",
    sources=(Source(FINNHUB, plan, parse, empty=Empty.SOMETIMES, least=VARIES),),
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
    inputs=MEMBERS,
    refresh=timedelta(hours=11),
    typical_items=503,
    depends=("sp500_companies",),
)
