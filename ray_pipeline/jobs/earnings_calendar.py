"""When companies report: Alpha Vantage's calendar of a year, completed by FMP's."""

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal

from ray_pipeline.jobs.spec import JobSpec, Json, Request, Run, Source, each
from ray_pipeline.jobs.table import Table
from ray_pipeline.jobs.values import day, decimal, required, text
from ray_pipeline.providers.alpha_vantage import PROVIDER as ALPHA_VANTAGE
from ray_pipeline.providers.fmp import PROVIDER as FMP
from ray_pipeline.schedules.cron import NEW_YORK, Cron

COLUMNS = {"symbol", "name", "reportDate", "fiscalDateEnding", "estimate", "currency"}
HORIZON = timedelta(days=30)  # FMP's free plan gives few rows a call; the near ones matter
FMP_SESSIONS = {"bmo": "pre-market", "amc": "post-market"}


@dataclass(frozen=True, slots=True)
class EarningsEvent:
    """A report that a company has announced."""

    symbol: str
    report_date: date
    company_name: str | None
    fiscal_date_ending: date | None
    estimate: Decimal | None  # earnings per share
    currency: str | None
    source: str
    time_of_day: str | None


@dataclass(frozen=True, slots=True)
class OtherEvent(EarningsEvent):
    """A report that Alpha Vantage may not know."""


def plan_alpha_vantage(_run: Run) -> Iterator[Request]:
    """One call gives the whole market for a year."""
    yield Request("", "/query", {"function": "EARNINGS_CALENDAR", "horizon": "12month"})


def parse_alpha_vantage(body: Json, _request: Request, _run: Run) -> Iterator[object]:
    """
    Read the CSV.

    symbol,name,reportDate,fiscalDateEnding,estimate,currency,timeOfTheDay

    Raises:
        ValueError: If the header is another one.
    """
    reader = csv.DictReader(io.StringIO(body))
    if missing := COLUMNS - set(reader.fieldnames or ()):
        raise ValueError(f"the header lacks {', '.join(sorted(missing))}")
    yield from each(reader, _from_alpha_vantage)


def _from_alpha_vantage(row: Json) -> EarningsEvent:
    return EarningsEvent(
        symbol=required(row["symbol"]),
        report_date=_day(row["reportDate"]),
        company_name=text(row["name"]),
        fiscal_date_ending=day(row["fiscalDateEnding"]),
        estimate=decimal(row["estimate"]),
        currency=text(row["currency"]) or "USD",
        source="alpha_vantage",
        time_of_day=text(row.get("timeOfTheDay")),
    )


def _day(value: object) -> date:
    found = day(value)
    if found is None:
        raise ValueError("no report date")
    return found


def plan_fmp(run: Run) -> Iterator[Request]:
    """The next weeks."""
    first = run.slot.date()
    last = first + HORIZON
    params = {"from": first.isoformat(), "to": last.isoformat()}
    yield Request("", "/earnings-calendar", params)


def parse_fmp(body: Json, _request: Request, _run: Run) -> Iterator[object]:
    """
    Read events, of the present API and of the one before it.

    [{"symbol": "HCA", "date": "2026-07-24", "epsEstimated": 7.52, ...}, ...]
    """
    yield from each(body, _from_fmp)


def _from_fmp(row: Json) -> OtherEvent:
    return OtherEvent(
        symbol=required(row["symbol"]),
        report_date=_day(row["date"]),
        company_name=None,
        fiscal_date_ending=day(row.get("fiscalDateEnding")),
        estimate=decimal(row.get("epsEstimated")),
        currency="USD",
        source="fmp",
        time_of_day=FMP_SESSIONS.get(str(row.get("time"))),
    )


FILL = ("company_name", "fiscal_date_ending", "estimate", "time_of_day")

SPEC = JobSpec(
    name="earnings_calendar",
    title="Earnings calendar of the US market, 12 months ahead",
    sources=(
        Source(ALPHA_VANTAGE, plan_alpha_vantage, parse_alpha_vantage, body="text", empty=False),
        Source(FMP, plan_fmp, parse_fmp),
    ),
    tables=(
        Table(
            "earnings_calendar",
            EarningsEvent,
            key=("symbol", "report_date"),
            touched="fetched_at",
            fill=FILL,
        ),
        # What Alpha Vantage knows stays; only rows that FMP brought are its to change.
        Table(
            "earnings_calendar",
            OtherEvent,
            key=("symbol", "report_date"),
            touched="fetched_at",
            fill=FILL,
            own="source",
        ),
    ),
    schedule=Cron("0 5 * * *", NEW_YORK),
    complete=True,
)
