"""US federal funds rate, monthly."""

from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from ray_pipeline.jobs._series import series, stored
from ray_pipeline.jobs.spec import JobSpec
from ray_pipeline.jobs.table import Range, Table
from ray_pipeline.schedules.cron import NEW_YORK, Cron


@dataclass(frozen=True, slots=True)
class FederalFundsRate:
    """One point of the series, in the unit that the row names."""

    date: date
    rate: Decimal
    interval_type: str
    unit: str
    name: str
    source: str


SPEC = JobSpec(
    name="federal_funds_rate",
    title="US federal funds rate, monthly",
    sources=series(
        FederalFundsRate,
        "FEDFUNDS",
        "FEDERAL_FUNDS_RATE",
        title="Effective Federal Funds Rate",
        value="rate",
        interval="monthly",
        unit="percent",
        name="Effective Federal Funds Rate",
    ),
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
    inputs=stored("federal_funds_rate", "rate"),
    schedule=Cron("30 9 * * 1", NEW_YORK),
)
