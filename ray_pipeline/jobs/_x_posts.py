"""Requests, rows and specification of the two jobs that collect posts of X."""

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime

from ray_pipeline.jobs._x_accounts import Account, due
from ray_pipeline.jobs.columns import column, read_row, table_row
from ray_pipeline.jobs.spec import (
    VARIES,
    Empty,
    JobSpec,
    Json,
    Request,
    Run,
    Source,
    check_item,
    each,
)
from ray_pipeline.jobs.table import Table
from ray_pipeline.jobs.values import at, count, required, text
from ray_pipeline.providers.x import PROVIDER as X
from ray_pipeline.schedules.cron import Cron

MAX_RESULTS = 50
LAST_PAGE = 1  # each page costs a token a quarter of an hour
FIELDS = {
    "max_results": str(MAX_RESULTS),
    "tweet.fields": "created_at,text,public_metrics,context_annotations,entities,lang,"
    "edit_history_tweet_ids,note_tweet,referenced_tweets",
    "expansions": "author_id",
    "user.fields": "name,username,verified,public_metrics",
}
PROFILES = "SELECT lower(username) AS handle, user_id FROM x_user_profiles"
# The newest post of each account. Ids are numbers of varying length, so text order is wrong.
NEWEST = """
    SELECT lower(source_account) AS handle, max(tweet_id::numeric)::text AS tweet_id
    FROM x_posts GROUP BY 1
"""
FIRST_SEEN = (
    "author_id", "created_at", "lang", "source_account", "username", "display_name"
)  # fmt: skip


@table_row
class XPost:
    """A post, with its counters when it was last read."""

    tweet_id: str = column("id")
    author_id: str
    text: str
    created_at: datetime
    lang: str = column(otherwise="en")
    source_account: str
    account_category: str
    collection_source: str
    retweet_count: int = column("public_metrics", "retweet_count", read=count, otherwise=0)
    reply_count: int = column("public_metrics", "reply_count", read=count, otherwise=0)
    like_count: int = column("public_metrics", "like_count", read=count, otherwise=0)
    quote_count: int = column("public_metrics", "quote_count", read=count, otherwise=0)
    bookmark_count: int = column("public_metrics", "bookmark_count", read=count, otherwise=0)
    impression_count: int = column("public_metrics", "impression_count", read=count, otherwise=0)
    hashtags: list[Json] | None = column("entities", "hashtags")
    mentions: list[Json] | None = column("entities", "mentions")
    urls: list[Json] | None = column("entities", "urls")
    cashtags: list[Json] | None = column("entities", "cashtags")
    annotations: list[Json] | None = column("entities", "annotations")
    context_annotations: list[Json] | None
    username: str
    display_name: str = column("author", "name", otherwise="")
    user_verified: bool = column("author", "verified")
    user_followers_count: int = column(
        "author", "public_metrics", "followers_count", read=count, otherwise=0
    )
    user_following_count: int = column(
        "author", "public_metrics", "following_count", read=count, otherwise=0
    )
    user_tweet_count: int = column(
        "author", "public_metrics", "tweet_count", read=count, otherwise=0
    )
    edit_history_tweet_ids: list[Json] | None
    referenced_tweets: list[Json] | None
    source: str = "x"


def plan(accounts: Iterable[Account], origin: str) -> Callable[[Run], Iterator[Request]]:
    """Return a plan of the accounts that are due on the slot's day (UTC)."""

    def requests(run: Run) -> Iterator[Request]:
        ids = {str(row["handle"]): str(row["user_id"]) for row in run.rows("profiles")}
        newest = {str(row["handle"]): str(row["tweet_id"]) for row in run.rows("newest")}
        for account in due(accounts, run.slot.date()):
            handle = account.handle.lower()
            if handle in ids:
                params = dict(FIELDS)
                if handle in newest:
                    params["since_id"] = newest[handle]
                facts = {"category": account.category, "origin": origin}
                yield Request(account.handle, f"/users/{ids[handle]}/tweets", params, facts)

    return requests


def meaning_of_empty(request: Request) -> Empty:
    """
    Return NORMAL if only newer posts, or older pages, are requested, because an account may be
    quiet; otherwise SOMETIMES.
    """
    is_first = "since_id" not in request.params and request.page == 0
    return Empty.SOMETIMES if is_first else Empty.NORMAL


def parse(body: Json, request: Request, _run: Run) -> Iterator[object]:
    """
    Read posts; an account without new ones has no `data`, and a count of 0.

    {"data": [{"id": "1", "author_id": "44196397", "text": ..., "public_metrics": {...}}, ...],
     "includes": {"users": [{"username": "elonmusk", ...}]}, "meta": {"result_count": 5}}
    """
    author = at(body, "includes", "users", 0) or {}
    posts = () if at(body, "meta", "result_count") == 0 else body["data"]
    if posts:
        check_item(at(posts, 0, "author_id"), account_of(request))
    yield from each(posts, lambda post: _row(post, author, request))


def account_of(request: Request) -> str:
    """Return the id in /users/ID/tweets; empty for another path."""
    parts = request.path.split("/")
    return parts[2] if len(parts) > 3 else ""


def follow(body: Json, request: Request, _run: Run) -> Request | None:
    """Return the next page, if the request had a lower bound: a first collection takes one page."""
    token = at(body, "meta", "next_token")
    if token is None or request.page >= LAST_PAGE or "since_id" not in request.params:
        return None
    params = dict(request.params) | {"pagination_token": str(token)}
    return Request(request.item, request.path, params, request.facts, request.page + 1)


def _row(post: Json, author: Json, request: Request) -> XPost:
    return read_row(
        XPost,
        post | {"author": author},
        # A long post's text is cut off; its note holds the whole text.
        text=text(at(post, "note_tweet", "text")) or required(post["text"]),
        source_account=request.item,
        account_category=request.facts["category"],
        collection_source=request.facts["origin"],
        username=text(author.get("username")) or request.item,
    )


def spec(name: str, title: str, accounts: tuple[Account, ...], origin: str, cron: Cron) -> JobSpec:
    """Return the job of one list of accounts."""
    return JobSpec(
        name=name,
        title=title,
        sources=(
            Source(
                X,
                plan(accounts, origin),
                parse,
                follow=follow,
                empty=meaning_of_empty,
                least=VARIES,
            ),
        ),
        tables=(
            Table(
                "x_posts",
                XPost,
                key=("tweet_id",),
                keep=FIRST_SEEN,
                touched="updated_at",
                event="created_at",
            ),
        ),
        schedule=cron,
        inputs={"profiles": PROFILES, "newest": NEWEST},
        typical_items=4,
        depends=("x_user_profiles",),
    )
