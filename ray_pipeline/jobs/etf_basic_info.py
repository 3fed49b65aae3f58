"""The funds of `etf_profile`: the largest and most traded US ETFs."""

from collections.abc import Iterator
from dataclasses import dataclass

from ray_pipeline.jobs._data_files import read_list
from ray_pipeline.jobs.spec import JobSpec, Run
from ray_pipeline.jobs.table import Table
from ray_pipeline.schedules.cron import Cron


@dataclass(frozen=True, slots=True)
class Etf:
    """A fund."""

    symbol: str
    name: str
    popularity_rank: int


def derive(_run: Run) -> Iterator[Etf]:
    """Return the list; rows that a user added stay."""
    for rank, fund in enumerate(read_list("etfs"), 1):
        yield Etf(fund["symbol"], fund["name"], rank)


SPEC = JobSpec(
    name="etf_basic_info",
    title="The ETFs whose profiles are collected",
    derive=derive,
    tables=(Table("etf_basic_info", Etf, key=("symbol",), replace=False),),
    schedule=Cron("0 0 1 * *"),
)
