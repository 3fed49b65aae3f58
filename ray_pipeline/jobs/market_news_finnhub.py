"""Market news of Finnhub in four categories, newer than the stored news."""

from collections.abc import Iterator
from datetime import datetime

from ray_pipeline.errors import BadValue
from ray_pipeline.jobs.columns import column, read_row, table_row
from ray_pipeline.jobs.spec import VARIES, Empty, JobSpec, Json, Request, Run, Source, each
from ray_pipeline.jobs.table import Table
from ray_pipeline.jobs.values import from_unix
from ray_pipeline.providers.finnhub import PROVIDER as FINNHUB
from ray_pipeline.schedules.cron import Cron

CATEGORIES = ("crypto", "forex", "merger", "general")
NEWEST = "SELECT category, max(news_id) AS news_id FROM market_news_finnhub GROUP BY category"


@table_row
class FinnhubNews:
    """An article of a category."""

    category: str
    news_id: int = column("id")
    datetime: datetime
    headline: str | None = column(required=True)
    image: str | None = column(otherwise="")
    related: str | None = column(otherwise="")
    source: str | None = column(otherwise="")
    summary: str | None = column(otherwise="")
    url: str | None = column(otherwise="")
    provider: str = "finnhub"


def plan(run: Run) -> Iterator[Request]:
    """Make one request for each category, from the newest stored id on."""
    newest = {str(row["category"]): str(row["news_id"]) for row in run.rows("newest")}
    for category in CATEGORIES:
        params = {"category": category}
        if category in newest:
            params["minId"] = newest[category]
        yield Request(category, "/news", params)


def meaning_of_empty(request: Request) -> Empty:
    """Return NORMAL if only newer articles are requested, else FAILURE: there are older ones."""
    return Empty.NORMAL if "minId" in request.params else Empty.FAILURE


def parse(body: Json, request: Request, _run: Run) -> Iterator[object]:
    """
    Read articles.

    [{"category": "top news", "datetime": 1596589501, "headline": ..., "id": 5085164, ...}, ...]
    """
    yield from each(body, lambda article: _row(article, request.item))


def _row(article: Json, category: str) -> FinnhubNews:
    # The field's name hides the type `datetime` in the class, so `column` cannot declare it.
    published = from_unix(article["datetime"])
    if published is None:
        raise BadValue("no datetime")
    return read_row(FinnhubNews, article, category=category, datetime=published)


SPEC = JobSpec(
    name="market_news_finnhub",
    title="Finnhub's market news: crypto, forex, mergers, general",
    sources=(Source(FINNHUB, plan, parse, empty=meaning_of_empty, least=VARIES),),
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
