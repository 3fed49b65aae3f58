"""The members of the S&P 500, and former members."""

import re
from collections.abc import Callable, Iterator, Sequence
from datetime import date, datetime

from ray_pipeline.errors import BadValue
from ray_pipeline.jobs._listing import LISTINGS, listing
from ray_pipeline.jobs.columns import column, read_row, table_row
from ray_pipeline.jobs.spec import (
    WHOLE,
    Empty,
    JobSpec,
    Json,
    Request,
    Run,
    Source,
    Unparsed,
    each,
    one_call,
)
from ray_pipeline.jobs.table import Table
from ray_pipeline.jobs.values import required, text
from ray_pipeline.providers.fmp import PROVIDER as FMP
from ray_pipeline.providers.wikipedia import PROVIDER as WIKIPEDIA
from ray_pipeline.schedules.cron import Cron
from ray_pipeline.transport.html_table import table

FEWEST, MOST = 480, 520  # there are 500 companies, some with two classes of shares
CIK = re.compile(r"\d{1,10}", re.ASCII)
COLUMNS = ("Symbol", "Security", "GICS Sector")
# FMP names sectors in its own way now; its older answers have the names of GICS.
GICS = {
    "Basic Materials": "Materials",
    "Consumer Cyclical": "Consumer Discretionary",
    "Consumer Defensive": "Consumer Staples",
    "Financial Services": "Financials",
    "Healthcare": "Health Care",
    "Technology": "Information Technology",
}


def _symbol(value: Json) -> str:
    """Return a symbol as it is stored: with the share class after a dot, BRK.B instead of BRK-B."""
    return required(value).upper().replace("-", ".")


def _cik(value: Json) -> str | None:
    """
    Return the number of a company at the SEC, with its leading zeros.

    Raises:
        BadValue: If it is not a number.
    """
    number = text(value)
    if number is not None and not CIK.fullmatch(number):
        raise BadValue(f"{number[:20]!r} is not a CIK")
    return number.zfill(10) if number else None


def _sector(value: Json) -> str | None:
    name = text(value)
    return GICS.get(name, name) if name else None


@table_row
class IndexMember:
    """One class of shares in the index."""

    symbol: str = column(read=_symbol)
    company_name: str = column("name")
    gics_sector: str | None = column("sector", read=_sector)
    gics_sub_industry: str | None = column("subSector")
    headquarters: str | None = column("headQuarter")
    date_added: date | None = column("dateFirstAdded")
    cik: str | None = column(read=_cik)
    founded: str | None
    is_member: bool = True
    removed_at: datetime | None = None
    source: str


def parse_fmp(body: Json, _request: Request, run: Run) -> Iterator[object]:
    """Read members: [{"symbol": "APO", "name": "...", "cik": "0001858681", ...}, ...]."""
    yield from _members(body, lambda row: read_row(IndexMember, row, source="fmp"), run)


def parse_wikipedia(body: Json, _request: Request, run: Run) -> Iterator[object]:
    """
    Read the table of constituents by the names of its columns.

    Symbol | Security | GICS Sector | GICS Sub-Industry | Headquarters Location | Date added | CIK
    """
    rows = table(body, COLUMNS)
    if rows is None:
        raise BadValue(f"no table with the columns {', '.join(COLUMNS)}")
    yield from _members(rows, _of_wikipedia, run)


def _of_wikipedia(row: Json) -> IndexMember:
    """Read a row of the table, under the names that FMP uses for the same values."""
    values = {
        "symbol": row["Symbol"],
        "name": row["Security"],
        "sector": row["GICS Sector"],
        "subSector": row.get("GICS Sub-Industry"),
        "headQuarter": row.get("Headquarters Location"),
        "dateFirstAdded": row.get("Date added") or row.get("Date first added"),
        "cik": row.get("CIK"),
        "founded": row.get("Founded"),
    }
    return read_row(IndexMember, values, source="wikipedia")


def _members(
    rows: Sequence[Json], read: Callable[[Json], IndexMember], run: Run
) -> Iterator[object]:
    """
    Yield the members, and their list if every member could be read.

    Raises:
        BadValue: If the number of members is implausible; then no row is stored.
    """
    if not FEWEST <= len(rows) <= MOST:
        raise BadValue(f"{len(rows)} members, not {FEWEST} to {MOST}: this is not the whole list")
    members = list(each(rows, read))
    yield from members
    if not any(isinstance(member, Unparsed) for member in members):
        # Without this check, a member that cannot be read would count as removed.
        yield listing(run, [member.symbol for member in members if isinstance(member, IndexMember)])


SPEC = JobSpec(
    name="sp500_companies",
    title="The members of the S&P 500",
    sources=(
        Source(FMP, one_call("/sp500-constituent"), parse_fmp, empty=Empty.FAILURE, least=WHOLE),
        Source(
            WIKIPEDIA,
            one_call("/wiki/List_of_S%26P_500_companies"),
            parse_wikipedia,
            body="text",
            empty=Empty.FAILURE,
            least=WHOLE,
        ),
    ),
    tables=(
        Table(
            "sp500_companies",
            IndexMember,
            key=("symbol",),
            touched="updated_at",
            clears=("removed_at",),  # a company that returns to the index
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
