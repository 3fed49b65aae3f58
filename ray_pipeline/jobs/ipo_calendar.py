"""Companies that go public in the next three months."""

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal

from ray_pipeline.jobs.spec import JobSpec, Json, Request, Run, Source, each
from ray_pipeline.jobs.table import Table
from ray_pipeline.jobs.values import day, decimal, required, text
from ray_pipeline.providers.alpha_vantage import PROVIDER as ALPHA_VANTAGE
from ray_pipeline.schedules.cron import NEW_YORK, Cron

COLUMNS = {"symbol", "name", "ipoDate", "priceRangeLow", "priceRangeHigh", "currency", "exchange"}


@dataclass(frozen=True, slots=True)
class Ipo:
    """A planned offering; the price range is in its currency, 0 where none is announced."""

    symbol: str
    company_name: str
    ipo_date: date
    price_range_low: Decimal | None
    price_range_high: Decimal | None
    currency: str
    exchange: str | None
    source: str


def plan(_run: Run) -> Iterator[Request]:
    """One call."""
    yield Request("", "/query", {"function": "IPO_CALENDAR"})


def parse(body: Json, _request: Request, _run: Run) -> Iterator[object]:
    """
    Read the CSV; one without rows is a quarter without offerings.

    symbol,name,ipoDate,priceRangeLow,priceRangeHigh,currency,exchange

    Raises:
        ValueError: If the header is another one.
    """
    reader = csv.DictReader(io.StringIO(body))
    if missing := COLUMNS - set(reader.fieldnames or ()):
        raise ValueError(f"the header lacks {', '.join(sorted(missing))}")
    yield from each(reader, _row)


def _row(row: Json) -> Ipo:
    symbol = required(row["symbol"]).upper()
    return Ipo(
        symbol=symbol,
        company_name=text(row["name"]) or symbol,
        ipo_date=_day(row["ipoDate"]),
        price_range_low=decimal(row["priceRangeLow"]),
        price_range_high=decimal(row["priceRangeHigh"]),
        currency=text(row["currency"]) or "USD",
        exchange=text(row["exchange"]),
        source="alpha_vantage",
    )


def _day(value: str) -> date:
    if "/" in value:
        return datetime.strptime(value.strip(), "%m/%d/%y").date()  # noqa: DTZ007 - a day only
    found = day(value)
    if found is None:
        raise ValueError("no date")
    return found


SPEC = JobSpec(
    name="ipo_calendar",
    title="IPO calendar, three months ahead",
    sources=(Source(ALPHA_VANTAGE, plan, parse, body="text"),),
    tables=(Table("ipo_calendar", Ipo, key=("symbol", "ipo_date"), touched="updated_at"),),
    schedule=Cron("20 5 * * 1", NEW_YORK),
)
