"""The members of the S&P 500, and who has left."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime

from ray_pipeline.jobs._html import table
from ray_pipeline.jobs._listing import LISTINGS, listing
from ray_pipeline.jobs.spec import JobSpec, Json, Request, Run, Source, Unparsed, each
from ray_pipeline.jobs.table import Table
from ray_pipeline.jobs.values import day, required, text
from ray_pipeline.providers.fmp import PROVIDER as FMP
from ray_pipeline.providers.wikipedia import PROVIDER as WIKIPEDIA
from ray_pipeline.schedules.cron import Cron

FEWEST, MOST = 480, 520  # there are 500 companies, some with two classes of shares
COLUMNS = ("Symbol", "Security", "GICS Sector")
# FMP's current answers have its own names of sectors, its older ones had GICS's.
GICS = {
    "Basic Materials": "Materials",
    "Consumer Cyclical": "Consumer Discretionary",
    "Consumer Defensive": "Consumer Staples",
    "Financial Services": "Financials",
    "Healthcare": "Health Care",
    "Technology": "Information Technology",
}


@dataclass(frozen=True, slots=True)
class Member:
    """One class of shares in the index."""

    symbol: str
    company_name: str
    gics_sector: str | None
    gics_sub_industry: str | None
    headquarters: str | None
    date_added: date | None
    cik: str | None
    founded: str | None
    is_member: bool
    removed_at: datetime | None
    source: str


def plan_fmp(_run: Run) -> Iterator[Request]:
    """One call brings all."""
    yield Request(item="", path="/sp500-constituent")


def parse_fmp(body: Json, _request: Request, run: Run) -> Iterator[object]:
    """Read members: [{"symbol": "APO", "name": "...", "cik": "0001858681", ...}, ...]."""
    yield from _members(body, _of_fmp, run)


def _of_fmp(row: Json) -> Member:
    sector = text(row.get("sector"))
    return Member(
        symbol=_symbol(row["symbol"]),
        company_name=required(row["name"]),
        gics_sector=GICS.get(sector, sector) if sector else None,
        gics_sub_industry=text(row.get("subSector")),
        headquarters=text(row.get("headQuarter")),
        date_added=day(row.get("dateFirstAdded")),
        cik=_cik(row.get("cik")),
        founded=text(row.get("founded")),
        is_member=True,
        removed_at=None,
        source="fmp",
    )


def plan_wikipedia(_run: Run) -> Iterator[Request]:
    """One page has all."""
    yield Request(item="", path="/wiki/List_of_S%26P_500_companies")


def parse_wikipedia(body: Json, _request: Request, run: Run) -> Iterator[object]:
    """
    Read the table of constituents by the names of its columns.

    Symbol | Security | GICS Sector | GICS Sub-Industry | Headquarters Location | Date added | CIK
    """
    rows = table(body, COLUMNS)
    if rows is None:
        raise ValueError(f"no table with the columns {', '.join(COLUMNS)}")
    yield from _members(rows, _of_wikipedia, run)


def _of_wikipedia(row: Json) -> Member:
    return Member(
        symbol=_symbol(row["Symbol"]),
        company_name=required(row["Security"]),
        gics_sector=text(row["GICS Sector"]),
        gics_sub_industry=text(row.get("GICS Sub-Industry")),
        headquarters=text(row.get("Headquarters Location")),
        date_added=day(row.get("Date added") or row.get("Date first added")),
        cik=_cik(row.get("CIK")),
        founded=text(row.get("Founded")),
        is_member=True,
        removed_at=None,
        source="wikipedia",
    )


def _members(rows: Sequence[Json], read: Callable[[Json], Member], run: Run) -> Iterator[object]:
    """
    Yield the members, and the list of them unless one could not be read.

    Raises:
        ValueError: If this cannot be the whole index; then nothing of it is believed.
    """
    if not FEWEST <= len(rows) <= MOST:
        raise ValueError(f"{len(rows)} members, not {FEWEST} to {MOST}: this is not the whole list")
    found = list(each(rows, read))
    yield from found
    if not any(isinstance(one, Unparsed) for one in found):
        # One that could not be read has not left.
        yield listing(run, [one.symbol for one in found if isinstance(one, Member)])


def _symbol(value: Json) -> str:
    """Return our spelling: a share class after a dot, where others write BRK-B."""
    return required(value).upper().replace("-", ".")


def _cik(value: Json) -> str | None:
    """
    Return the SEC's number with its leading zeros.

    Raises:
        ValueError: If it is no number.
    """
    found = text(value)
    if found is not None and not found.isdigit():
        raise ValueError(f"{found[:20]!r} is no CIK")
    return found.zfill(10) if found else None


SPEC = JobSpec(
    name="sp500_companies",
    title="The members of the S&P 500",
    sources=(
        Source(FMP, plan_fmp, parse_fmp, empty=False),
        Source(WIKIPEDIA, plan_wikipedia, parse_wikipedia, body="text", empty=False),
    ),
    tables=(
        Table(
            "sp500_companies",
            Member,
            key=("symbol",),
            touched="updated_at",
            fill=("gics_sub_industry", "headquarters", "date_added", "cik", "founded"),
        ),
        LISTINGS,
    ),
    schedule=Cron("0 6 * * 1"),
    prune="""
        UPDATE sp500_companies
        SET is_member = FALSE, removed_at = listings.slot AT TIME ZONE 'UTC', updated_at = now()
        FROM listings
        WHERE listings.job = %(job)s AND listings.slot = %(slot)s
          AND is_member AND symbol <> ALL (listings.items)
    """,
)
