"""What both jobs of X posts share: the question, the answer, the row."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime

from ray_pipeline.jobs._x_accounts import Account, due
from ray_pipeline.jobs.spec import JobSpec, Json, Request, Run, Source, each
from ray_pipeline.jobs.table import Table
from ray_pipeline.jobs.values import at, instant, required, text
from ray_pipeline.providers.x import PROVIDER as X
from ray_pipeline.schedules.cron import Cron

MAX_RESULTS = 50
LAST_PAGE = 1  # a second page where there is more; each is a quarter of an hour of a token
FIELDS = {
    "max_results": str(MAX_RESULTS),
    "tweet.fields": "created_at,text,public_metrics,context_annotations,entities,lang,"
    "edit_history_tweet_ids,note_tweet,referenced_tweets",
    "expansions": "author_id",
    "user.fields": "name,username,verified,public_metrics",
}
PROFILES = "SELECT lower(username) AS handle, user_id FROM x_user_profiles"
# The newest post of each account; ids are numbers without a fixed length.
NEWEST = """
    SELECT lower(source_account) AS handle, max(tweet_id::numeric)::text AS tweet_id
    FROM x_posts GROUP BY 1
"""
FIRST_SEEN = (
    "author_id", "created_at", "lang", "source_account", "username", "display_name",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class XPost:
    """A post, with its counters when it was last read."""

    tweet_id: str
    author_id: str
    text: str
    created_at: datetime
    lang: str
    source_account: str
    account_category: str
    collection_source: str
    retweet_count: int
    reply_count: int
    like_count: int
    quote_count: int
    bookmark_count: int
    impression_count: int
    hashtags: list[Json] | None
    mentions: list[Json] | None
    urls: list[Json] | None
    cashtags: list[Json] | None
    annotations: list[Json] | None
    context_annotations: list[Json] | None
    username: str
    display_name: str
    user_verified: bool
    user_followers_count: int
    user_following_count: int
    user_tweet_count: int
    edit_history_tweet_ids: list[Json] | None
    referenced_tweets: list[Json] | None
    source: str


def plan(accounts: Iterable[Account], origin: str) -> Callable[[Run], Iterator[Request]]:
    """Return a plan: the accounts that are due on the slot's day (UTC), from their newest post."""

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


def parse(body: Json, request: Request, _run: Run) -> Iterator[object]:
    """
    Read posts; an account without new ones has no `data`.

    {"data": [{"id": "1", "author_id": "44196397", "text": ..., "public_metrics": {...}}, ...],
     "includes": {"users": [{"username": "elonmusk", ...}]}, "meta": {"result_count": 5}}
    """
    author = at(body, "includes", "users", 0) or {}
    yield from each(body.get("data") or (), lambda post: _row(post, author, request))


def follow(body: Json, request: Request, _run: Run) -> Request | None:
    """Return the next page, where there is one and something was known before."""
    token = at(body, "meta", "next_token")
    if token is None or request.page >= LAST_PAGE or "since_id" not in request.params:
        return None
    params = dict(request.params) | {"pagination_token": str(token)}
    return Request(request.item, request.path, params, request.facts, request.page + 1)


def _row(post: Json, author: Json, request: Request) -> XPost:
    created = instant(post["created_at"])
    if created is None:
        raise ValueError("no created_at")

    def metric(name: str) -> int:
        return int(at(post, "public_metrics", name) or 0)

    def user_metric(name: str) -> int:
        return int(at(author, "public_metrics", name) or 0)

    def entities(name: str) -> list[Json] | None:
        return at(post, "entities", name) or None

    return XPost(
        tweet_id=required(post["id"]),
        author_id=required(post["author_id"]),
        # A long post's text is cut off; the whole of it is in its note.
        text=text(at(post, "note_tweet", "text")) or required(post["text"]),
        created_at=created,
        lang=text(post.get("lang")) or "en",
        source_account=request.item,
        account_category=request.facts["category"],
        collection_source=request.facts["origin"],
        retweet_count=metric("retweet_count"),
        reply_count=metric("reply_count"),
        like_count=metric("like_count"),
        quote_count=metric("quote_count"),
        bookmark_count=metric("bookmark_count"),
        impression_count=metric("impression_count"),
        hashtags=entities("hashtags"),
        mentions=entities("mentions"),
        urls=entities("urls"),
        cashtags=entities("cashtags"),
        annotations=entities("annotations"),
        context_annotations=post.get("context_annotations") or None,
        username=text(author.get("username")) or request.item,
        display_name=text(author.get("name")) or "",
        user_verified=bool(author.get("verified")),
        user_followers_count=user_metric("followers_count"),
        user_following_count=user_metric("following_count"),
        user_tweet_count=user_metric("tweet_count"),
        edit_history_tweet_ids=post.get("edit_history_tweet_ids") or None,
        referenced_tweets=post.get("referenced_tweets") or None,
        source="x",
    )


def spec(name: str, title: str, accounts: tuple[Account, ...], origin: str, cron: Cron) -> JobSpec:
    """Return the job of one list of accounts."""
    return JobSpec(
        name=name,
        title=title,
        sources=(Source(X, plan(accounts, origin), parse, follow=follow),),
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
