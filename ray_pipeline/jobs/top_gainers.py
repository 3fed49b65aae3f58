"""Top gainers, losers and most traded stocks of the day; a live stream subscribes to them."""

import itertools
from collections.abc import Callable, Iterator
from datetime import datetime
from decimal import Decimal

from ray_pipeline.jobs.columns import column, read_row, table_row
from ray_pipeline.jobs.spec import WHOLE, Empty, JobSpec, Json, Request, Run, Source, each, one_call
from ray_pipeline.jobs.table import Range, Table
from ray_pipeline.jobs.values import elements, zoned_instant
from ray_pipeline.providers.alpha_vantage import PROVIDER as ALPHA_VANTAGE
from ray_pipeline.schedules.cron import NEW_YORK, Cron

CATEGORIES = ("top_gainers", "top_losers", "most_actively_traded")
NUMBERS = {"price", "change_amount", "change_percentage", "volume"}


@table_row
class TopGainer:
    """A stock in one of the three lists of a batch."""

    batch_id: int
    last_updated: datetime
    symbol: str = column("ticker")
    category: str
    rank_position: int
    price: Decimal | None = column(required=True)
    change_amount: Decimal | None
    change_percentage: str | None  # with '%', which programs that read the table expect
    volume: int | None
    source: str = "alpha_vantage"


def parse(body: Json, _request: Request, run: Run) -> Iterator[object]:
    """
    Read the three lists; the rank of a stock is its position.

    {"last_updated": "2026-05-15 16:16:00 US/Eastern",
     "top_gainers": [{"ticker": "A", "price": "1.8", "change_amount": "1.79",
                      "change_percentage": "17900.0%", "volume": "166004"}, ...], ...}
    """
    updated = zoned_instant(body["last_updated"])
    for category in CATEGORIES:
        given = {"batch_id": run.batch, "last_updated": updated, "category": category}
        yield from each(elements(body.get(category)), _reader(given))


def _reader(given: dict[str, object]) -> Callable[[Json], TopGainer]:
    """Return a reader of the stocks of one list, which counts their ranks."""
    ranks = itertools.count(1)
    return lambda stock: _row(stock, given | {"rank_position": next(ranks)})


def _row(stock: Json, given: dict[str, object]) -> TopGainer:
    if missing := NUMBERS - stock.keys():
        raise KeyError(min(missing))
    return read_row(TopGainer, stock, **given)


SPEC = JobSpec(
    name="top_gainers",
    title="Top gainers, losers and most traded stocks of the day",
    sources=(
        Source(
            ALPHA_VANTAGE,
            one_call("/query", {"function": "TOP_GAINERS_LOSERS"}),
            parse,
            empty=Empty.FAILURE,
            least=WHOLE,
        ),
    ),
    tables=(
        Table(
            "top_gainers",
            TopGainer,
            key=("batch_id", "symbol", "category"),
            event="last_updated",
            ranges=(Range("price", 0),),
        ),
    ),
    schedule=Cron("45 16 * * 1-5", NEW_YORK),
    batched="top_gainers",
)
