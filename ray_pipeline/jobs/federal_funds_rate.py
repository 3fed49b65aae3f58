"""US federal funds rate, monthly."""

from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from ray_pipeline.jobs._series import sources
from ray_pipeline.jobs.spec import JobSpec, Json
from ray_pipeline.jobs.table import Range, Table
from ray_pipeline.schedules.cron import NEW_YORK, Cron

UNIT = "percent"
NAME = "Effective Federal Funds Rate"
INTERVAL = "monthly"


@dataclass(frozen=True, slots=True)
class FederalFundsRate:
    """One point of the series, in the unit that the row names."""

    date: date
    rate: Decimal
    interval_type: str
    unit: str
    name: str
    source: str


def _row(day: date, value: Decimal, body: Json, source: str) -> FederalFundsRate:
    # FRED's `units` is a code of a transformation, so that only Alpha Vantage's words are taken.
    unit, name = str(body.get("unit") or UNIT), str(body.get("name") or NAME)
    return FederalFundsRate(day, value, INTERVAL, unit, name, source)


SPEC = JobSpec(
    name="federal_funds_rate",
    title="US federal funds rate, monthly",
    sources=sources("FEDFUNDS", "FEDERAL_FUNDS_RATE", _row, interval="monthly"),
    tables=(
        Table(
            "federal_funds_rate",
            FederalFundsRate,
            key=("date",),
            event="date",
            touched="updated_at",
            ranges=(Range("rate", -1, 30),),
        ),
    ),
    schedule=Cron("30 9 * * 1", NEW_YORK),
)
