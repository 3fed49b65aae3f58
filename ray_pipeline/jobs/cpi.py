"""US consumer prices, monthly."""

from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from ray_pipeline.jobs._series import series, stored
from ray_pipeline.jobs.spec import JobSpec
from ray_pipeline.jobs.table import Range, Table
from ray_pipeline.schedules.cron import NEW_YORK, Cron


@dataclass(frozen=True, slots=True)
class Cpi:
    """One point of the series, in the unit that the row names."""

    date: date
    cpi_value: Decimal
    interval_type: str
    unit: str
    name: str
    source: str


SPEC = JobSpec(
    name="cpi",
    title="US consumer prices, monthly",
    sources=series(
        Cpi,
        "CPIAUCNS",
        "CPI",
        title="Consumer Price Index for all Urban Consumers",
        value="cpi_value",
        interval="monthly",
        unit="index 1982-1984=100",
        name="Consumer Price Index for all Urban Consumers",
    ),
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
    inputs=stored("cpi", "cpi_value"),
    schedule=Cron("10 9 * * 1", NEW_YORK),
)
