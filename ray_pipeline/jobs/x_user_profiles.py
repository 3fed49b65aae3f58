"""The ids of accounts on X, looked up by name, up to a hundred in a call."""

from collections.abc import Iterator
from dataclasses import dataclass

from ray_pipeline.jobs._x_accounts import handles
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
from ray_pipeline.jobs.values import at, elements, required, text
from ray_pipeline.providers.x import PROVIDER as X
from ray_pipeline.schedules.cron import Cron

KNOWN = "SELECT lower(username) AS handle FROM x_user_profiles"
MOST = 100  # names a call


@dataclass(frozen=True, slots=True)
class XUserProfile:
    """An account."""

    username: str
    user_id: str
    display_name: str | None
    category: str | None
    source: str


def plan(run: Run) -> Iterator[Request]:
    """Request every id that is not stored; an unknown name is requested again next time."""
    stored = set(run.values("known", "handle"))
    missing = [handle for handle in handles() if handle.lower() not in stored]
    for begin in range(0, len(missing), MOST):
        names = missing[begin : begin + MOST]
        params = {
            "usernames": ",".join(names),
            "user.fields": "id,name,username,verified,public_metrics",
        }
        yield Request(f"names {begin // MOST + 1}", "/users/by", params)


def parse(body: Json, request: Request, _run: Run) -> Iterator[object]:
    """
    Read accounts; those that do not exist are under `errors`.

    {"data": [{"id": "44196397", "name": "Elon Musk", "username": "elonmusk"}, ...]}
    """
    spelt = {handle.lower(): (handle, category) for handle, category in handles().items()}
    requested = request.params["usernames"].lower().split(",")
    users = elements(body["data"])
    names = [name for user in users if isinstance(name := at(user, "username"), str)]
    if names and not any(name.lower() in requested for name in names):
        check_item(names[0], requested[0])
    yield from each(users, lambda user: _row(user, spelt))


def _row(user: Json, spelt: dict[str, tuple[str, str]]) -> XUserProfile:
    name = required(user["username"])
    handle, category = spelt.get(name.lower(), (name, None))
    return XUserProfile(handle, required(user["id"]), text(user.get("name")), category, "x")


SPEC = JobSpec(
    name="x_user_profiles",
    title="Ids of the accounts on X",
    sources=(Source(X, plan, parse, empty=Empty.FAILURE, least=VARIES),),
    tables=(Table("x_user_profiles", XUserProfile, key=("username",)),),
    schedule=Cron("15 0 * * *"),
    inputs={"known": KNOWN},
)
