"""What the supervisor answers: whether it lives, whether data progresses, and why not."""

from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from fastapi import APIRouter
from starlette.responses import Response

from ray_pipeline.actors.supervisor import is_up
from ray_pipeline.api.answers import answer
from ray_pipeline.errors import PipelineError
from ray_pipeline.observe.status import Status, age
from ray_pipeline.observe.why_feed import explain_feed


class Watched(Protocol):
    """What is known of the actors; see `actors.supervisor.Supervisor`."""

    statuses: dict[str, object]
    trouble: str

    @property
    def names(self) -> list[str]:
        """The names of the actors that should run."""


@dataclass(frozen=True, slots=True)
class View:
    """
    What the answers are made of.

    Attributes:
        supervisor: The one at work; None while it cannot start, and then `cause` says why.
        read: Reads the status page.
        limit_s: The age at which a feed's newest record is too old, in seconds.
    """

    read: Callable[[], Awaitable[Status]]
    limit_s: float
    supervisor: Watched | None = None
    cause: str = "starting"
    fix: str = ""
    extra: Mapping[str, object] = field(default_factory=dict)


def routes(view: Callable[[], View]) -> APIRouter:
    """Return the routes over what `view` returns now."""
    router = APIRouter()

    @router.get("/live", summary="Whether the process answers")
    async def live() -> Response:
        """Needs no store and no actor."""
        return answer({"live": True})

    @router.get("/ready", summary="Whether data progresses")
    async def ready() -> Response:
        """503 with the reasons when an actor is missing, or no feed has stored a record lately."""
        seen = view()
        reasons = [*_actor_reasons(seen), *await _data_reasons(seen)]
        return answer(
            {"ready": not reasons, "reasons": reasons, **seen.extra},
            status=503 if reasons else 200,
        )

    @router.get("/why", summary="One sentence a feed and an actor")
    async def why() -> Response:
        """Say of each feed and each actor how it does, and what would change that."""
        seen = view()
        return answer(
            {"supervisor": _of_itself(seen), "feeds": await _feeds(seen), "actors": _actors(seen)}
        )

    return router


def _of_itself(view: View) -> str:
    if view.supervisor is None:
        return ": ".join(filter(None, (view.cause, view.fix)))
    return view.supervisor.trouble or "reconciling"


def _actor_reasons(view: View) -> Iterator[str]:
    if view.supervisor is None:
        yield _of_itself(view)
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
        return []  # there may be no schema to read from yet
    try:
        page = await view.read()
    except PipelineError as error:
        return [str(error)]
    ages = [row.last_record_age_s for row in page.feeds if row.last_record_age_s is not None]
    if not ages:
        return ["no feed has ever stored a record"]
    if min(ages) > view.limit_s:
        return [f"no feed stored a record for {age(min(ages))}; the limit is {age(view.limit_s)}"]
    return []


async def _feeds(view: View) -> list[dict[str, object]]:
    if view.supervisor is None:
        return []
    try:
        page = await view.read()
    except PipelineError as error:
        return [{"name": "all", "fresh": False, "why": str(error)}]
    said = [explain_feed(row, page.shards) for row in page.feeds]
    return [{"name": one.job, "fresh": one.fresh, "why": one.sentence} for one in said]


def _actors(view: View) -> list[dict[str, object]]:
    if view.supervisor is None:
        return []
    return [_actor(name, view.supervisor.statuses.get(name)) for name in view.supervisor.names]


def _actor(name: str, status: object) -> dict[str, object]:
    if not isinstance(status, dict):
        return {"name": name, "up": False, "why": f"{name} has not started yet."}
    state = str(status.get("state") or "at work")
    cause = str(status.get("cause") or "")
    sentence = f"{name} is {state}" + (f": {cause}." if cause else ".")
    return {"name": name, "up": is_up(status), "why": sentence}
