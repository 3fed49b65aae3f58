"""Posts of three accounts on Truth Social; their counters are read again for two days."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from ray_pipeline.jobs._truth_social import clean, count
from ray_pipeline.jobs.spec import JobSpec, Json, Request, Run, Source, each
from ray_pipeline.jobs.table import Table
from ray_pipeline.jobs.values import at, instant, required, text
from ray_pipeline.providers.truth_social import PROVIDER as TRUTH_SOCIAL
from ray_pipeline.schedules.cron import Cron

# Handle: type of the account, and how far its posts move markets, 0 to 10.
ACCOUNTS = {
    "realDonaldTrump": ("individual", 10),
    "WhiteHouse": ("government", 9),
    "DonaldJTrumpJr": ("individual", 7),
}
NEWEST = """
    SELECT username, max(id::numeric)::text AS id FROM truth_social_posts GROUP BY username
"""
PAGE_SIZE = "40"
LAST_PAGE = 10  # for one account and run
COUNTERS_FOR = timedelta(hours=48)


@dataclass(frozen=True, slots=True)
class TruthPost:
    """A post, with its counters when it was last read."""

    id: str
    created_at: datetime
    username: str
    account_id: str
    display_name: str | None
    verified: bool
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
    has_tags: bool
    has_mentions: bool
    card_url: str | None
    card_title: str | None
    card_description: str | None
    card_image: str | None
    visibility: str
    sensitive: bool
    spoiler_text: str | None
    in_reply_to_id: str | None
    quote_id: str | None
    account_type: str
    market_influence: int
    source: str


def plan(run: Run) -> Iterator[Request]:
    """One item an account: its id first, its statuses on the pages after."""
    newest = {str(row["username"]): str(row["id"]) for row in run.rows("newest")}
    for handle in ACCOUNTS:
        facts = {"newest": newest.get(handle, "")}
        yield Request(handle, "/api/v1/accounts/lookup", {"acct": handle}, facts)


def follow(body: Json, request: Request, run: Run) -> Request | None:
    """
    Return the next page.

    After the lookup the newest statuses; then older ones, until what is known is reached and the
    counters of two days have been read.
    """
    params = {"exclude_replies": "true", "limit": PAGE_SIZE}
    if request.page == 0:
        path = f"/api/v1/accounts/{body['id']}/statuses"
        return Request(request.item, path, params, request.facts, 1)
    if not body or request.page >= LAST_PAGE:
        return None
    oldest = body[-1]
    known = request.facts["newest"]
    enough = not known or int(oldest["id"]) <= int(known)
    created = instant(oldest["created_at"])
    if enough and (created is None or created < run.slot - COUNTERS_FOR or not known):
        return None
    params["max_id"] = str(oldest["id"])
    return Request(request.item, request.path, params, request.facts, request.page + 1)


def parse(body: Json, request: Request, _run: Run) -> Iterator[object]:
    """
    Read statuses; the first page is the account itself.

    [{"id": "114433942825461076", "created_at": "2025-05-01T...", "content": "<p>...</p>",
      "account": {"id": ..., "username": ...}, ...}, ...]
    """
    if request.page == 0 and isinstance(body, dict):
        required(body.get("id"))
        return
    yield from each(body, lambda status: _row(status, request.item))


def _row(status: Json, handle: str) -> TruthPost:
    created = instant(status["created_at"])
    if created is None:
        raise ValueError("no created_at")
    media, tags = status.get("media_attachments") or [], status.get("tags") or []
    mentions = status.get("mentions") or []
    kind, influence = ACCOUNTS.get(handle, ("individual", 0))
    return TruthPost(
        id=required(status["id"]),
        created_at=created,
        username=handle,
        account_id=required(status["account"]["id"]),
        display_name=text(at(status, "account", "display_name")),
        verified=bool(at(status, "account", "verified")),
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
        tags=tags,
        mentions=mentions,
        has_tags=bool(tags),
        has_mentions=bool(mentions),
        card_url=text(at(status, "card", "url")),
        card_title=text(at(status, "card", "title")),
        card_description=text(at(status, "card", "description")),
        card_image=text(at(status, "card", "image")),
        visibility=text(status.get("visibility")) or "public",
        sensitive=bool(status.get("sensitive")),
        spoiler_text=text(status.get("spoiler_text")),
        in_reply_to_id=text(status.get("in_reply_to_id")),
        quote_id=text(status.get("quote_id")),
        account_type=kind,
        market_influence=influence,
        source="truth_social",
    )


SPEC = JobSpec(
    name="truth_social_posts",
    title="Posts of three accounts on Truth Social",
    sources=(Source(TRUTH_SOCIAL, plan, parse, follow=follow),),
    tables=(
        Table(
            "truth_social_posts",
            TruthPost,
            key=("id",),
            keep=("created_at", "username", "account_id"),
            touched="updated_at",
            event="created_at",
        ),
    ),
    schedule=Cron("5 * * * *"),
    inputs={"newest": NEWEST},
    pages=3,
    typical_items=3,
)
