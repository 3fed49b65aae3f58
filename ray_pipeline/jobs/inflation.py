"""US inflation, annual."""

from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from ray_pipeline.jobs._series import sources
from ray_pipeline.jobs.spec import JobSpec, Json
from ray_pipeline.jobs.table import Range, Table
from ray_pipeline.schedules.cron import NEW_YORK, Cron

UNIT = "percent"
NAME = "Inflation, consumer prices for the United States"
INTERVAL = "annual"


@dataclass(frozen=True, slots=True)
class Inflation:
    """One point of the series, in the unit that the row names."""

    date: date
    inflation_rate: Decimal
    interval_type: str
    unit: str
    name: str
    source: str


def _row(day: date, value: Decimal, body: Json, source: str) -> Inflation:
    # FRED's `units` is a code of a transformation, so that only Alpha Vantage's words are taken.
    unit, name = str(body.get("unit") or UNIT), str(body.get("name") or NAME)
    return Inflation(day, value, INTERVAL, unit, name, source)


SPEC = JobSpec(
    name="inflation",
    title="US inflation, annual",
    sources=sources("FPCPITOTLZGUSA", "INFLATION", _row, interval=""),
    tables=(
        Table(
            "inflation",
            Inflation,
            key=("date",),
            event="date",
            touched="updated_at",
            ranges=(Range("inflation_rate", -20, 50),),
        ),
    ),
    schedule=Cron("20 9 * * 1", NEW_YORK),
)
