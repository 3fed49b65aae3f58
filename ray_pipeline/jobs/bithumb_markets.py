"""Bithumb's markets, with their names."""

from collections.abc import Iterator
from dataclasses import dataclass

from ray_pipeline.jobs._listing import LISTINGS, listing
from ray_pipeline.jobs.spec import JobSpec, Json, Request, Run, Source, Unparsed, each
from ray_pipeline.jobs.table import Table
from ray_pipeline.jobs.values import required, text
from ray_pipeline.providers.bithumb import PROVIDER as BITHUMB
from ray_pipeline.schedules.cron import SEOUL, Cron


@dataclass(frozen=True, slots=True)
class Market:
    """One market."""

    market_code: str
    korean_name: str
    english_name: str
    market_warning: str | None


def plan(_run: Run) -> Iterator[Request]:
    """One call brings all."""
    yield Request(item="", path="/v1/market/all", params={"isDetails": "true"})


def parse(body: Json, _request: Request, run: Run) -> Iterator[object]:
    """
    Read markets, and what markets there are.

    [{"market": "KRW-BTC", "korean_name": "...", "english_name": "Bitcoin",
      "market_warning": "NONE"}, ...]
    """
    rows = list(each(body, _market))
    yield from rows
    if rows and not any(isinstance(row, Unparsed) for row in rows):
        # A market that could not be read has not vanished.
        yield listing(run, [row.market_code for row in rows if isinstance(row, Market)])


def _market(market: Json) -> Market:
    return Market(
        market_code=required(market["market"]),
        korean_name=required(market["korean_name"]),
        english_name=required(market["english_name"]),
        market_warning=text(market.get("market_warning")),
    )


SPEC = JobSpec(
    name="bithumb_markets",
    title="Bithumb's markets",
    sources=(Source(BITHUMB, plan, parse, empty=False),),
    tables=(
        Table("market_code_bithumb", Market, key=("market_code",)),
        LISTINGS,
    ),
    schedule=Cron("50 5 * * *", SEOUL),
    # An answer that lacks more than a fifth of the markets is not believed.
    prune="""
        DELETE FROM market_code_bithumb USING listings
        WHERE listings.job = %(job)s AND listings.slot = %(slot)s
          AND market_code <> ALL (listings.items)
          AND cardinality(listings.items) >= 0.8 * (SELECT count(*) FROM market_code_bithumb)
    """,
)
