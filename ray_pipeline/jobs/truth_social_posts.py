"""Posts of three accounts on Truth Social and their counters, which are updated for two days."""

from collections.abc import Iterator
from datetime import timedelta

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
    check_item,
    each,
)
from ray_pipeline.jobs.table import Table
from ray_pipeline.jobs.values import at, instant, required, whole
from ray_pipeline.providers.truth_social import PROVIDER as TRUTH_SOCIAL
from ray_pipeline.schedules.cron import Cron

# By handle: the type of the account, and the influence of its posts on markets, 0 to 10.
ACCOUNTS = {
    "realDonaldTrump": ("individual", 10),
    "WhiteHouse": ("government", 9),
    "DonaldJTrumpJr": ("individual", 7),
}
NEWEST = """
    SELECT username, max(id::numeric)::text AS id FROM truth_social_posts GROUP BY username
"""
PAGE_SIZE = "40"
LAST_PAGE = 10  # of one account in one run
COUNTERS_FOR = timedelta(hours=48)


@table_row
class TruthPost(TruthStatus):
    """A post of a collected account, with its counters when it was last read."""

    verified: bool = column("account", "verified")
    has_tags: bool = column("tags")
    has_mentions: bool = column("mentions")
    card_url: str | None = column("card", "url")
    card_title: str | None = column("card", "title")
    card_description: str | None = column("card", "description")
    card_image: str | None = column("card", "image")
    spoiler_text: str | None
    quote_id: str | None
    account_type: str
    market_influence: int


def plan(run: Run) -> Iterator[Request]:
    """Make one item for each account: page 0 returns its id, the next pages its statuses."""
    newest = {str(row["username"]): str(row["id"]) for row in run.rows("newest")}
    for handle in ACCOUNTS:
        facts = {"newest": newest.get(handle, "")}
        yield Request(handle, "/api/v1/accounts/lookup", {"acct": handle}, facts)


def follow(body: Json, request: Request, run: Run) -> Request | None:
    """
    Return the next page.

    The page after the lookup has the newest statuses. Older pages follow until the newest stored
    status is reached and the counters of two days are updated.
    """
    params = {"exclude_replies": "true", "limit": PAGE_SIZE}
    if request.page == 0:
        path = f"/api/v1/accounts/{body['id']}/statuses"
        return Request(request.item, path, params, request.facts, 1)
    if not body or request.page >= LAST_PAGE:
        return None
    oldest = body[-1]
    stored = request.facts["newest"]
    enough = not stored or whole(oldest["id"]) <= int(stored)
    created = instant(oldest["created_at"])
    if enough and (created is None or created < run.slot - COUNTERS_FOR or not stored):
        return None
    params["max_id"] = str(oldest["id"])
    return Request(request.item, request.path, params, request.facts, request.page + 1)


def meaning_of_empty(request: Request) -> Empty:
    """
    Return FAILURE for the account and for its newest posts, because all three accounts have posts,
    and NORMAL for older pages.
    """
    return Empty.FAILURE if request.page <= 1 else Empty.NORMAL


def parse(body: Json, request: Request, _run: Run) -> Iterator[object]:
    """
    Read statuses; the first page is the account itself.

    [{"id": "114433942825461076", "created_at": "2025-05-01T...", "content": "<p>...</p>",
      "account": {"id": ..., "username": ...}, ...}, ...]
    """
    if request.page == 0:
        required(at(body, "id"))
        check_item(body.get("username"), request.item)
        return
    check_item(at(body, 0, "account", "id"), account_of(request))
    yield from each(body, lambda status: _row(status, request.item))


def account_of(request: Request) -> str:
    """Return the id in /api/v1/accounts/ID/statuses; empty for another path."""
    before, _, account = request.path.removesuffix("/statuses").rpartition("/")
    return account if before.endswith("/accounts") else ""


def _row(status: Json, handle: str) -> TruthPost:
    kind, influence = ACCOUNTS.get(handle, ("individual", 0))
    return read_row(
        TruthPost, status, username=handle, account_type=kind, market_influence=influence
    )


SPEC = JobSpec(
    name="truth_social_posts",
    title="Posts of three accounts on Truth Social",
    sources=(
        Source(TRUTH_SOCIAL, plan, parse, follow=follow, empty=meaning_of_empty, least=VARIES),
    ),
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
