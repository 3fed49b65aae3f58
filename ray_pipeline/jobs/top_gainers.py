"""The day's top gainers, losers and most traded stocks; they steer a live stream."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

from ray_pipeline.jobs.spec import UNREADABLE, JobSpec, Json, Request, Run, Source, Unparsed
from ray_pipeline.jobs.table import Range, Table
from ray_pipeline.jobs.values import decimal, integer, required, text
from ray_pipeline.providers.alpha_vantage import PROVIDER as ALPHA_VANTAGE
from ray_pipeline.schedules.cron import NEW_YORK, Cron

CATEGORIES = ("top_gainers", "top_losers", "most_actively_traded")


@dataclass(frozen=True, slots=True)
class TopGainer:
    """A stock in one of the three lists of a batch."""

    batch_id: int
    last_updated: datetime
    symbol: str
    category: str
    rank_position: int
    price: Decimal | None
    change_amount: Decimal | None
    change_percentage: str | None  # with its '%', as readers expect it
    volume: int | None
    source: str


def plan(_run: Run) -> Iterator[Request]:
    """One call."""
    yield Request("", "/query", {"function": "TOP_GAINERS_LOSERS"})


def parse(body: Json, _request: Request, run: Run) -> Iterator[object]:
    """
    Read the three lists; a stock's rank is its place.

    {"last_updated": "2026-05-15 16:16:00 US/Eastern",
     "top_gainers": [{"ticker": "A", "price": "1.8", "change_amount": "1.79",
                      "change_percentage": "17900.0%", "volume": "166004"}, ...], ...}
    """
    updated = _updated(body["last_updated"])
    for category in CATEGORIES:
        for rank, stock in enumerate(body.get(category) or (), 1):
            try:
                yield _row(stock, category, rank, run.batch, updated)
            except UNREADABLE as bad:
                yield Unparsed(stock, type(bad).__name__, str(bad))


def _row(stock: Json, category: str, rank: int, batch: int, updated: datetime) -> TopGainer:
    return TopGainer(
        batch_id=batch,
        last_updated=updated,
        symbol=required(stock["ticker"]),
        category=category,
        rank_position=rank,
        price=decimal(stock["price"]),
        change_amount=decimal(stock["change_amount"]),
        change_percentage=text(stock["change_percentage"]),
        volume=integer(stock["volume"]),
        source="alpha_vantage",
    )


def _updated(value: str) -> datetime:
    """Read '2026-05-15 16:16:00 US/Eastern'."""
    moment, _, zone = value.rpartition(" ")
    local = datetime.fromisoformat(moment).replace(tzinfo=ZoneInfo(zone))
    return local.astimezone(UTC)


SPEC = JobSpec(
    name="top_gainers",
    title="Top gainers, losers and most traded stocks of the day",
    sources=(Source(ALPHA_VANTAGE, plan, parse, empty=False),),
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
