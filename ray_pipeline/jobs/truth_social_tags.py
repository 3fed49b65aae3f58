"""Trending tags of Truth Social, one snapshot a day."""

from collections.abc import Iterator
from datetime import date
from decimal import Decimal

from ray_pipeline.errors import BadValue
from ray_pipeline.jobs.columns import column, read_row, table_row
from ray_pipeline.jobs.spec import (
    VARIES,
    Empty,
    JobSpec,
    Json,
    Request,
    Run,
    Source,
    each,
    one_call,
)
from ray_pipeline.jobs.table import Table
from ray_pipeline.jobs.values import count, elements, whole
from ray_pipeline.providers.truth_social import PROVIDER as TRUTH_SOCIAL
from ray_pipeline.schedules.cron import Cron

DAYS = 7
CENT = Decimal("0.01")


@table_row
class TrendingTag:
    """A tag on a day; day 0 is that day, and day 6 is six days earlier."""

    name: str
    collected_date: date
    url: str | None
    total_uses: int
    total_accounts: int
    recent_statuses_count: int = column(read=count, otherwise=0)
    history_data: list[Json]
    day_0_uses: int
    day_1_uses: int
    day_2_uses: int
    day_3_uses: int
    day_4_uses: int
    day_5_uses: int
    day_6_uses: int
    trend_score: Decimal
    growth_rate: Decimal | None  # percent above the mean of the days before; NULL if that is 0
    weekly_average: Decimal
    tag_category: str = "general"
    source: str = "truth_social"


def parse(body: Json, _request: Request, run: Run) -> Iterator[object]:
    """
    Read tags.

    [{"name": "economy", "url": ..., "history": [{"day": ..., "uses": "5", "accounts": "4"}, ...]}]
    """
    yield from each(body, lambda tag: _row(tag, run.slot.date()))


def _row(tag: Json, today: date) -> TrendingTag:
    history = elements(tag["history"])
    if not history:
        raise BadValue("no history")
    uses = [whole(entry["uses"]) for entry in history[:DAYS]]
    uses += [0] * (DAYS - len(uses))
    before = Decimal(sum(uses[1:])) / (DAYS - 1)
    growth = ((uses[0] - before) / before * 100).quantize(CENT) if before else None
    return read_row(
        TrendingTag,
        tag,
        collected_date=today,
        total_uses=uses[0],
        total_accounts=whole(history[0]["accounts"]),
        history_data=history,
        **{f"day_{day}_uses": uses[day] for day in range(DAYS)},
        trend_score=Decimal(uses[0]),
        growth_rate=growth,
        weekly_average=(Decimal(sum(uses)) / DAYS).quantize(CENT),
    )


SPEC = JobSpec(
    name="truth_social_tags",
    title="Trending tags on Truth Social",
    sources=(
        Source(TRUTH_SOCIAL, one_call("/api/v1/trends"), parse, empty=Empty.FAILURE, least=VARIES),
    ),
    tables=(
        Table(
            "truth_social_tags", TrendingTag, key=("name", "collected_date"), touched="updated_at"
        ),
    ),
    schedule=Cron("35 0 * * *"),
)
