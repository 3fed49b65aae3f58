"""US Treasury yields, monthly, at the three maturities that describe the curve."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from ray_pipeline.errors import BadValue
from ray_pipeline.jobs._fred import PATH, STORED, observations
from ray_pipeline.jobs.spec import (
    WHOLE,
    Empty,
    JobSpec,
    Json,
    Request,
    Run,
    Source,
    check_item,
    each,
)
from ray_pipeline.jobs.table import Range, Table
from ray_pipeline.jobs.values import day, decimal, text
from ray_pipeline.providers.alpha_vantage import PROVIDER as ALPHA_VANTAGE
from ray_pipeline.providers.fred import PROVIDER as FRED
from ray_pipeline.schedules.cron import Cron

INTERVAL = "monthly"
MATURITY = re.compile(r"\d+-Year", re.IGNORECASE)
SERIES = {"2year": "GS2", "10year": "GS10", "30year": "GS30"}  # FRED's, by our maturity


@dataclass(frozen=True, slots=True)
class TreasuryYield:
    """One month of one maturity."""

    date: date
    maturity: str
    interval_type: str
    yield_rate: Decimal  # percent per year
    source: str


def plan_fred(_run: Run) -> Iterator[Request]:
    """Make one request for each maturity, for its whole history, because old values are revised."""
    for maturity, series in SERIES.items():
        yield Request(
            item=maturity,
            path=PATH,
            params={"series_id": series, "file_type": "json"},
        )


def parse_fred(body: Json, request: Request, run: Run) -> Iterator[object]:
    """
    Read observations; '.' is a month without a value.

    {"observations": [{"date": "2025-06-01", "value": "3.89"}, ...]}
    """
    points = observations(body, run, months=1, item=request.item)
    yield from each(points, lambda point: _row(point, request.item, "fred"))


def plan_alpha_vantage(_run: Run) -> Iterator[Request]:
    """Make one request for each maturity; the API has no date filter and returns all history."""
    for maturity in SERIES:
        yield Request(
            item=maturity,
            path="/query",
            params={
                "function": "TREASURY_YIELD",
                "interval": INTERVAL,
                "maturity": maturity,
                "datatype": "json",
            },
        )


def parse_alpha_vantage(body: Json, request: Request, _run: Run) -> Iterator[object]:
    """
    Read data points; '.' is a month without a value.

    {"name": "2-Year Treasury Constant Maturity Rate", "interval": "monthly",
     "unit": "percent", "data": [{"date": "2025-06-01", "value": "3.89"}, ...]}
    """
    # The name begins with the maturity: "10-Year Treasury Constant Maturity Rate".
    name = text(body.get("name")) or "Treasury"
    if "Treasury" not in name:
        check_item(name, f"the Treasury's {request.item}")
    if named := MATURITY.match(name):
        check_item(named[0], request.item)
    yield from each(body["data"], lambda point: _row(point, request.item, "alpha_vantage"))


def _row(point: Json, maturity: str, source: str) -> TreasuryYield | None:
    """Return a row, None for a month without a value: readers expect a number in each row."""
    month = day(point["date"])
    if month is None:
        raise BadValue("no date")
    rate = decimal(point["value"])
    return None if rate is None else TreasuryYield(month, maturity, INTERVAL, rate, source)


SPEC = JobSpec(
    name="treasury_yield",
    title="US Treasury yields of 2, 10 and 30 years, monthly",
    sources=(
        Source(FRED, plan_fred, parse_fred, empty=Empty.FAILURE, least=WHOLE),
        Source(
            ALPHA_VANTAGE,
            plan_alpha_vantage,
            parse_alpha_vantage,
            empty=Empty.FAILURE,
            least=WHOLE,
        ),
    ),
    tables=(
        Table(
            "treasury_yield",
            TreasuryYield,
            key=("date", "maturity", "interval_type"),
            event="date",
            touched="updated_at",
            ranges=(Range("yield_rate", -5, 30),),
        ),
    ),
    schedule=Cron("0 6 1 * *"),
    inputs={
        STORED: "SELECT maturity AS item, date, yield_rate AS value FROM treasury_yield "
        "WHERE source = 'fred'"
    },
    typical_items=3,
)
