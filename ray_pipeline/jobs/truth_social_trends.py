"""The posts that trend on Truth Social, with the place of each, hour by hour."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from ray_pipeline.jobs._truth_social import clean, count, identity
from ray_pipeline.jobs.spec import UNREADABLE, JobSpec, Json, Request, Run, Source, Unparsed
from ray_pipeline.jobs.table import Table
from ray_pipeline.jobs.values import instant, required, text
from ray_pipeline.providers.truth_social import PROVIDER as TRUTH_SOCIAL
from ray_pipeline.schedules.cron import Cron


@dataclass(frozen=True, slots=True)
class TrendingPost:
    """A post that trends, with its place when it was last seen."""

    id: str
    created_at: datetime
    username: str
    account_id: str
    display_name: str | None
    content: str
    clean_content: str
    language: str | None
    replies_count: int
    reblogs_count: int
    favourites_count: int
    upvotes_count: int
    downvotes_count: int
    url: str | None
    uri: str | None
    has_media: bool
    media_count: int
    media_attachments: list[Json] | None
    tags: list[Json]
    mentions: list[Json]
    visibility: str
    sensitive: bool
    in_reply_to_id: str | None
    trend_rank: int
    trend_score: Decimal
    source: str


@dataclass(frozen=True, slots=True)
class TrendRank:
    """The place of a post at one time."""

    id: str
    collected_at: datetime
    trend_rank: int


def plan(_run: Run) -> Iterator[Request]:
    """One call."""
    yield Request("", "/api/v1/truth/trending/truths", {"limit": "20"})


def parse(body: Json, _request: Request, run: Run) -> Iterator[object]:
    """Read statuses; a post's place is its position. [{"id": ..., "content": ...}, ...]"""
    for rank, status in enumerate(body, 1):
        try:
            row = _row(status, rank)
        except UNREADABLE as bad:
            yield Unparsed(status, type(bad).__name__, str(bad))
        else:
            yield row
            yield TrendRank(row.id, run.slot, rank)


def _row(status: Json, rank: int) -> TrendingPost:
    created = instant(status["created_at"])
    if created is None:
        raise ValueError("no created_at")
    account_id, username, display_name = identity(status)
    media = status.get("media_attachments") or []
    return TrendingPost(
        id=required(status["id"]),
        created_at=created,
        username=username,
        account_id=account_id,
        display_name=text(display_name),
        content=str(status["content"] or ""),
        clean_content=clean(str(status["content"] or "")),
        language=text(status.get("language")),
        replies_count=count(status, "replies_count"),
        reblogs_count=count(status, "reblogs_count"),
        favourites_count=count(status, "favourites_count"),
        upvotes_count=count(status, "upvotes_count"),
        downvotes_count=count(status, "downvotes_count"),
        url=text(status.get("url")),
        uri=text(status.get("uri")),
        has_media=bool(media),
        media_count=len(media),
        media_attachments=media or None,
        tags=status.get("tags") or [],
        mentions=status.get("mentions") or [],
        visibility=text(status.get("visibility")) or "public",
        sensitive=bool(status.get("sensitive")),
        in_reply_to_id=text(status.get("in_reply_to_id")),
        trend_rank=rank,
        trend_score=Decimal(count(status, "favourites_count")),
        source="truth_social",
    )


SPEC = JobSpec(
    name="truth_social_trends",
    title="Trending posts on Truth Social",
    sources=(Source(TRUTH_SOCIAL, plan, parse),),
    tables=(
        Table(
            "truth_social_trends",
            TrendingPost,
            key=("id",),
            keep=("created_at", "username", "account_id"),
            fill=("media_attachments",),
            touched="updated_at",
        ),
        Table("truth_social_trend_ranks", TrendRank, key=("id", "collected_at"), replace=False),
    ),
    schedule=Cron("20 * * * *"),
)
