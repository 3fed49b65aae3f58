"""The supervisor's routes: whether the process lives, whether data progresses, and why not."""

from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

from fastapi import APIRouter
from starlette.responses import Response

from ray_pipeline.actors.reconcile import is_up
from ray_pipeline.api.answers import answer
from ray_pipeline.errors import PipelineError
from ray_pipeline.observe.freshness import lack_of_progress, newest_age
from ray_pipeline.observe.status import Status
from ray_pipeline.observe.why_feed import explain_feed


class ActorStates(Protocol):
    """The states of the desired actors; see `actors.supervisor.Supervisor`."""

    statuses: dict[str, object]
    trouble: str

    @property
    def names(self) -> list[str]:
        """The names of the desired actors."""


@dataclass(frozen=True, slots=True)
class View:
    """
    What the responses are made of.

    Attributes:
        read: Reads the status page.
        limit_s: The age at which the newest record of all feeds is too old, in seconds.
        generation: The generation of this release.
        supervisor: The running supervisor; None while it cannot start, and then `cause` says why.
    """

    read: Callable[[], Awaitable[Status]]
    limit_s: float
    generation: int
    supervisor: ActorStates | None = None
    cause: str = "starting"
    fix: str = ""


def routes(view: Callable[[], View]) -> APIRouter:
    """Return the routes over what `view` returns at each request."""
    router = APIRouter()

    @router.get("/live", summary="Whether the process answers")
    async def live() -> Response:
        """Requires no store and no actor."""
        return answer({"live": True})

    @router.get("/ready", summary="Whether data progresses")
    async def ready() -> Response:
        """503 with the reasons if an actor is missing, or no feed stored a record lately."""
        current = view()
        reasons = [*_actor_reasons(current), *await _data_reasons(current)]
        body = {"ready": not reasons, "reasons": reasons, "generation": current.generation}
        return answer(body, status=503 if reasons else 200)

    @router.get("/why", summary="One sentence per feed and actor")
    async def why() -> Response:
        """The state of each feed and actor, and what would change it."""
        current = view()
        feeds, actors = await _feeds(current), _actors(current)
        return answer({"supervisor": _own_state(current), "feeds": feeds, "actors": actors})

    return router


def _own_state(view: View) -> str:
    if view.supervisor is None:
        return ": ".join(filter(None, (view.cause, view.fix)))
    return view.supervisor.trouble or "reconciling"


def _actor_reasons(view: View) -> Iterator[str]:
    if view.supervisor is None:
        yield _own_state(view)
        return
    if view.supervisor.trouble:
        yield view.supervisor.trouble
    for name in view.supervisor.names:
        status = view.supervisor.statuses.get(name)
        if status is None:
            yield f"{name} has not started yet"
        elif not is_up(status):
            yield f"{name} does not answer"


async def _data_reasons(view: View) -> list[str]:
    if view.supervisor is None:
        return []  # the schema may not exist yet
    try:
        page = await view.read()
    except PipelineError as error:
        return [str(error)]
    # One feed that progresses is enough: markets close at different times.
    newest_age_s = newest_age(row.last_record_age_s for row in page.feeds)
    return list(filter(None, [page.database, lack_of_progress(newest_age_s, limit_s=view.limit_s)]))


async def _feeds(view: View) -> list[dict[str, object]]:
    if view.supervisor is None:
        return []
    try:
        page = await view.read()
    except PipelineError as error:
        return [{"name": "all", "fresh": False, "why": str(error)}]
    feeds = (explain_feed(row, page) for row in page.feeds)
    return [{"name": feed.name, "fresh": feed.fresh, "why": feed.sentence} for feed in feeds]


def _actors(view: View) -> list[dict[str, object]]:
    if view.supervisor is None:
        return []
    return [_actor(name, view.supervisor.statuses.get(name)) for name in view.supervisor.names]


def _actor(name: str, status: object) -> dict[str, object]:
    if not isinstance(status, Mapping):
        return {"name": name, "up": False, "why": f"{name} has not started yet."}
    state = str(status.get("state") or "at work")
    cause = str(status.get("cause") or "")
    sentence = f"{name} is {state}" + (f": {cause}." if cause else ".")
    return {"name": name, "up": is_up(status), "why": sentence}
