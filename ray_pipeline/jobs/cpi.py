"""US consumer prices, monthly."""

from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from ray_pipeline.jobs._series import sources
from ray_pipeline.jobs.spec import JobSpec, Json
from ray_pipeline.jobs.table import Range, Table
from ray_pipeline.schedules.cron import NEW_YORK, Cron

UNIT = "index 1982-1984=100"
NAME = "Consumer Price Index for all Urban Consumers"
INTERVAL = "monthly"


@dataclass(frozen=True, slots=True)
class Cpi:
    """One point of the series, in the unit that the row names."""

    date: date
    cpi_value: Decimal
    interval_type: str
    unit: str
    name: str
    source: str


def _row(day: date, value: Decimal, body: Json, source: str) -> Cpi:
    # FRED's `units` is a code of a transformation, so that only Alpha Vantage's words are taken.
    unit, name = str(body.get("unit") or UNIT), str(body.get("name") or NAME)
    return Cpi(day, value, INTERVAL, unit, name, source)


SPEC = JobSpec(
    name="cpi",
    title="US consumer prices, monthly",
    sources=sources("CPIAUCNS", "CPI", _row, interval="monthly"),
    tables=(
        Table(
            "cpi",
            Cpi,
            key=("date",),
            event="date",
            touched="updated_at",
            ranges=(Range("cpi_value", 0, 1000),),
        ),
    ),
    schedule=Cron("10 9 * * 1", NEW_YORK),
)
