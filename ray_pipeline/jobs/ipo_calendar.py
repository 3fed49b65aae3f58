"""Initial public offerings of the next three months."""

from collections.abc import Iterator
from datetime import date
from decimal import Decimal

from ray_pipeline.jobs._alpha_vantage import each_csv_row
from ray_pipeline.jobs.columns import column, read_row, table_row
from ray_pipeline.jobs.spec import (
    VARIES,
    Empty,
    JobSpec,
    Json,
    Request,
    Run,
    Source,
    one_call,
)
from ray_pipeline.jobs.table import Table
from ray_pipeline.jobs.values import text, upper, us_day
from ray_pipeline.providers.alpha_vantage import PROVIDER as ALPHA_VANTAGE
from ray_pipeline.schedules.cron import NEW_YORK, Cron

COLUMNS = {"symbol", "name", "ipoDate", "priceRangeLow", "priceRangeHigh", "currency", "exchange"}


@table_row
class Ipo:
    """A planned offering; the price range is 0 before the company announces it."""

    symbol: str = column(read=upper)
    company_name: str
    ipo_date: date = column("ipoDate", read=us_day)
    price_range_low: Decimal | None = column("priceRangeLow")
    price_range_high: Decimal | None = column("priceRangeHigh")
    currency: str = column(otherwise="USD")
    exchange: str | None
    source: str = "alpha_vantage"


def parse(body: Json, _request: Request, _run: Run) -> Iterator[object]:
    """
    Read the CSV; a quarter without offerings has no rows.

    symbol,name,ipoDate,priceRangeLow,priceRangeHigh,currency,exchange

    Raises:
        BadValue: If the header lacks a column.
    """
    yield from each_csv_row(body, COLUMNS, _row)


def _row(row: Json) -> Ipo:
    return read_row(Ipo, row, company_name=text(row["name"]) or upper(row["symbol"]))


SPEC = JobSpec(
    name="ipo_calendar",
    title="IPO calendar, three months ahead",
    sources=(
        Source(
            ALPHA_VANTAGE,
            one_call("/query", {"function": "IPO_CALENDAR"}),
            parse,
            body="text",
            empty=Empty.NORMAL,  # no offering is planned
            least=VARIES,
        ),
    ),
    tables=(Table("ipo_calendar", Ipo, key=("symbol", "ipo_date"), touched="updated_at"),),
    schedule=Cron("20 5 * * 1", NEW_YORK),
)
