"""Dates of earnings reports: Alpha Vantage's calendar of a year, completed by FMP's."""

from collections.abc import Iterator
from datetime import date, timedelta
from decimal import Decimal

from ray_pipeline.jobs._alpha_vantage import each_csv_row
from ray_pipeline.jobs.columns import column, read_row, table_row
from ray_pipeline.jobs.spec import (
    MOSTLY_WHOLE,
    VARIES,
    Empty,
    JobSpec,
    Json,
    Request,
    Run,
    Source,
    each,
    one_call,
)
from ray_pipeline.jobs.table import Table
from ray_pipeline.jobs.values import text
from ray_pipeline.providers.alpha_vantage import PROVIDER as ALPHA_VANTAGE
from ray_pipeline.providers.fmp import PROVIDER as FMP
from ray_pipeline.schedules.cron import NEW_YORK, Cron

COLUMNS = {"symbol", "name", "reportDate", "fiscalDateEnding", "estimate", "currency"}
HORIZON = timedelta(
    days=30
)  # FMP's free plan returns few rows for each call; the next reports matter most
FMP_SESSIONS = {"bmo": "pre-market", "amc": "post-market"}


@table_row
class AnnouncedReport:
    """A report that a company has announced."""

    symbol: str
    report_date: date = column("reportDate")
    company_name: str | None = column("name")
    fiscal_date_ending: date | None = column("fiscalDateEnding")
    estimate: Decimal | None  # earnings per share
    currency: str | None
    source: str = "alpha_vantage"
    time_of_day: str | None = column("timeOfTheDay")


@table_row
class FmpReport(AnnouncedReport):
    """A report from FMP, which may know reports that Alpha Vantage does not."""

    report_date: date = column("date")
    company_name: str | None = None
    estimate: Decimal | None = column("epsEstimated")
    currency: str | None = None
    source: str = "fmp"
    time_of_day: str | None = column("time", read=lambda value: FMP_SESSIONS.get(text(value) or ""))


def parse_alpha_vantage(body: Json, _request: Request, _run: Run) -> Iterator[object]:
    """
    Read the CSV.

    symbol,name,reportDate,fiscalDateEnding,estimate,currency,timeOfTheDay

    Raises:
        BadValue: If the header lacks a column.
    """
    yield from each_csv_row(body, COLUMNS, lambda row: read_row(AnnouncedReport, row))


def plan_fmp(run: Run) -> Iterator[Request]:
    """Request the next weeks."""
    first = run.slot.date()
    last = first + HORIZON
    params = {"from": first.isoformat(), "to": last.isoformat()}
    yield Request("", "/earnings-calendar", params)


def parse_fmp(body: Json, _request: Request, _run: Run) -> Iterator[object]:
    """
    Read events of the present API and of the one before it.

    [{"symbol": "HCA", "date": "2026-07-24", "epsEstimated": 7.52, ...}, ...]
    """
    yield from each(body, lambda row: read_row(FmpReport, row))


SPEC = JobSpec(
    name="earnings_calendar",
    title="Earnings calendar of the US market, 12 months ahead",
    sources=(
        Source(
            ALPHA_VANTAGE,
            one_call("/query", {"function": "EARNINGS_CALENDAR", "horizon": "12month"}),
            parse_alpha_vantage,
            body="text",
            empty=Empty.FAILURE,
            least=MOSTLY_WHOLE,
        ),
        Source(FMP, plan_fmp, parse_fmp, empty=Empty.FAILURE, least=VARIES),
    ),
    tables=(
        Table(
            "earnings_calendar",
            AnnouncedReport,
            key=("symbol", "report_date"),
            touched="fetched_at",
        ),
        # A row of Alpha Vantage stays; FMP may update only rows that it inserted.
        Table(
            "earnings_calendar",
            FmpReport,
            key=("symbol", "report_date"),
            touched="fetched_at",
            writer="source",
        ),
    ),
    schedule=Cron("0 5 * * *", NEW_YORK),
    complete=True,
)
