"""Bithumb's markets, with their names."""

from collections.abc import Iterator

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
from ray_pipeline.providers.bithumb import PROVIDER as BITHUMB
from ray_pipeline.schedules.cron import SEOUL, Cron


@table_row
class BithumbMarket:
    """One market."""

    market_code: str = column("market")
    korean_name: str
    english_name: str
    market_warning: str | None


def parse(body: Json, _request: Request, run: Run) -> Iterator[object]:
    """
    Read the markets, and the list of their codes.

    [{"market": "KRW-BTC", "korean_name": "...", "english_name": "Bitcoin",
      "market_warning": "NONE"}, ...]
    """
    rows = list(each(body, lambda market: read_row(BithumbMarket, market)))
    yield from rows
    if rows and not any(isinstance(row, Unparsed) for row in rows):
        # Without this check, a market that cannot be read would count as closed.
        yield listing(run, [row.market_code for row in rows if isinstance(row, BithumbMarket)])


SPEC = JobSpec(
    name="bithumb_markets",
    title="Bithumb's markets",
    sources=(
        Source(
            BITHUMB,
            one_call("/v1/market/all", {"isDetails": "true"}),
            parse,
            empty=Empty.FAILURE,
            least=WHOLE,
        ),
    ),
    tables=(Table("market_code_bithumb", BithumbMarket, key=("market_code",)), LISTINGS),
    schedule=Cron("50 5 * * *", SEOUL),
    # An answer that lacks more than a fifth of the markets is taken for incomplete.
    prune="""
        DELETE FROM market_code_bithumb USING listings
        WHERE listings.job = %(job)s AND listings.slot = %(slot)s
          AND market_code <> ALL (listings.items)
          AND cardinality(listings.items) >= 0.8 * (SELECT count(*) FROM market_code_bithumb)
    """,
)
