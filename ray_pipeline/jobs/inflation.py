"""US inflation, annual."""

from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from ray_pipeline.jobs._series import series, stored
from ray_pipeline.jobs.spec import JobSpec
from ray_pipeline.jobs.table import Range, Table
from ray_pipeline.schedules.cron import NEW_YORK, Cron


@dataclass(frozen=True, slots=True)
class Inflation:
    """One point of the series, in the unit that the row names."""

    date: date
    inflation_rate: Decimal
    interval_type: str
    unit: str
    name: str
    source: str


SPEC = JobSpec(
    name="inflation",
    title="US inflation, annual",
    sources=series(
        Inflation,
        "FPCPITOTLZGUSA",
        "INFLATION",
        title="Inflation - US Consumer Prices",
        value="inflation_rate",
        interval="annual",
        unit="percent",
        name="Inflation, consumer prices for the United States",
    ),
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
    inputs=stored("inflation", "inflation_rate"),
    schedule=Cron("20 9 * * 1", NEW_YORK),
)
