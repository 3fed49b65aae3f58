"""Trending posts of Truth Social, with their hourly ranks."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from ray_pipeline.jobs._truth_social import TruthStatus
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
from ray_pipeline.providers.truth_social import PROVIDER as TRUTH_SOCIAL
from ray_pipeline.schedules.cron import Cron


@table_row
class TrendingPost(TruthStatus):
    """A trending post, with its latest rank."""

    trend_rank: int
    trend_score: Decimal = column("favourites_count", otherwise=Decimal(0))


@dataclass(frozen=True, slots=True)
class TrendRank:
    """The rank of a post at one time."""

    id: str
    collected_at: datetime
    trend_rank: int


def parse(body: Json, _request: Request, run: Run) -> Iterator[object]:
    """Read statuses; the rank of a post is its position. [{"id": ..., "content": ...}, ...]"""
    ranks = itertools.count(1)
    yield from each(body, lambda status: _rows(status, next(ranks), run.slot))


def _rows(status: Json, rank: int, slot: datetime) -> tuple[TrendingPost, TrendRank]:
    post = read_row(TrendingPost, status, trend_rank=rank)
    return post, TrendRank(post.id, slot, rank)


SPEC = JobSpec(
    name="truth_social_trends",
    title="Trending posts on Truth Social",
    sources=(
        Source(
            TRUTH_SOCIAL,
            one_call("/api/v1/truth/trending/truths", {"limit": "20"}),
            parse,
            empty=Empty.FAILURE,
            least=VARIES,
        ),
    ),
    tables=(
        Table(
            "truth_social_trends",
            TrendingPost,
            key=("id",),
            keep=("created_at", "username", "account_id"),
            touched="updated_at",
        ),
        Table("truth_social_trend_ranks", TrendRank, key=("id", "collected_at"), replace=False),
    ),
    schedule=Cron("20 * * * *"),
)
