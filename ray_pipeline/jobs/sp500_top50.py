"""Fifty large members of the S&P 500, as a fixed list."""

from collections.abc import Iterator
from dataclasses import dataclass

from ray_pipeline.jobs.spec import JobSpec, Run
from ray_pipeline.jobs.table import Table
from ray_pipeline.schedules.cron import Cron

SYMBOLS = (
    "AAPL MSFT AMZN NVDA GOOGL TSLA META GOOG BRK.B UNH V JPM JNJ WMT PG MA HD XOM CVX BAC PFE MRK "
    "KO ABBV INTC ORCL CRM AVGO ADBE TXN ABT MCD NKE COST LLY SBUX MDT QCOM AMGN HON UNP LOW WFC "
    "UPS DIS CSCO NEE TMO DHR C"
).split()
COMPANIES = "SELECT symbol, company_name, gics_sector, gics_sub_industry FROM sp500_companies"


@dataclass(frozen=True, slots=True)
class Company:
    """One of the fifty companies."""

    symbol: str
    company_name: str
    sector: str | None
    industry: str | None


def derive(run: Run) -> Iterator[Company]:
    """
    Return the fifty companies, with the names and sectors of the table of members.

    A company that is not in that table is left out, because its name is not known: a symbol in its
    place would look like a name. Before the table is filled, the run fails and names it.
    """
    members = {row["symbol"]: row for row in run.rows("companies")}
    for symbol in SYMBOLS:
        if row := members.get(symbol):
            yield Company(symbol, row["company_name"], row["gics_sector"], row["gics_sub_industry"])


SPEC = JobSpec(
    name="sp500_top50",
    title="Fifty large members of the S&P 500",
    derive=derive,
    inputs={"companies": COMPANIES},
    tables=(Table("sp500_top50", Company, key=("symbol",), touched="updated_at"),),
    schedule=Cron("30 0 1 * *"),
    depends=("sp500_companies",),
)
