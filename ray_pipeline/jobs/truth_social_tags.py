"""The tags that trend on Truth Social, a snapshot a day."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from ray_pipeline.jobs.spec import JobSpec, Json, Request, Run, Source, each
from ray_pipeline.jobs.table import Table
from ray_pipeline.jobs.values import required, text
from ray_pipeline.providers.truth_social import PROVIDER as TRUTH_SOCIAL
from ray_pipeline.schedules.cron import Cron

DAYS = 7
CENT = Decimal("0.01")


@dataclass(frozen=True, slots=True)
class Tag:
    """A tag on a day; day 0 is that day, day 6 six days before."""

    name: str
    collected_date: date
    url: str | None
    total_uses: int
    total_accounts: int
    recent_statuses_count: int
    history_data: list[Json]
    day_0_uses: int
    day_1_uses: int
    day_2_uses: int
    day_3_uses: int
    day_4_uses: int
    day_5_uses: int
    day_6_uses: int
    trend_score: Decimal
    growth_rate: Decimal | None  # percent over the mean of the days before; NULL where that is 0
    weekly_average: Decimal
    tag_category: str
    source: str


def plan(_run: Run) -> Iterator[Request]:
    """One call."""
    yield Request("", "/api/v1/trends")


def parse(body: Json, _request: Request, run: Run) -> Iterator[object]:
    """
    Read tags.

    [{"name": "economy", "url": ..., "history": [{"day": ..., "uses": "5", "accounts": "4"}, ...]}]
    """
    yield from each(body, lambda tag: _row(tag, run.slot.date()))


def _row(tag: Json, day: date) -> Tag:
    history = list(tag["history"])
    uses = [int(entry.get("uses") or 0) for entry in history[:DAYS]]
    uses += [0] * (DAYS - len(uses))
    before = Decimal(sum(uses[1:])) / (DAYS - 1)
    growth = ((uses[0] - before) / before * 100).quantize(CENT) if before else None
    return Tag(
        name=required(tag["name"]),
        collected_date=day,
        url=text(tag.get("url")),
        total_uses=uses[0],
        total_accounts=int(history[0].get("accounts") or 0) if history else 0,
        recent_statuses_count=int(tag.get("recent_statuses_count") or 0),
        history_data=history,
        day_0_uses=uses[0],
        day_1_uses=uses[1],
        day_2_uses=uses[2],
        day_3_uses=uses[3],
        day_4_uses=uses[4],
        day_5_uses=uses[5],
        day_6_uses=uses[6],
        trend_score=Decimal(uses[0]),
        growth_rate=growth,
        weekly_average=(Decimal(sum(uses)) / DAYS).quantize(CENT),
        tag_category="general",
        source="truth_social",
    )


SPEC = JobSpec(
    name="truth_social_tags",
    title="Trending tags on Truth Social",
    sources=(Source(TRUTH_SOCIAL, plan, parse),),
    tables=(Table("truth_social_tags", Tag, key=("name", "collected_date"), touched="updated_at"),),
    schedule=Cron("35 0 * * *"),
)
