"""The supervisor's routes: whether the process lives, whether data progresses, and why not."""

from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

from fastapi import APIRouter, Request
from starlette.responses import Response

from ray_pipeline.actors.generations import at_work
from ray_pipeline.actors.reconcile import is_up
from ray_pipeline.api.answers import answer, refusal
from ray_pipeline.api.auth import TokenCheck, token_in
from ray_pipeline.errors import PipelineError
from ray_pipeline.observe.data_progress import DataProgress, data_progress
from ray_pipeline.observe.status import Status
from ray_pipeline.observe.why_feed import explain_feed

UNAUTHORIZED_FIX = "send Authorization: Bearer TOKEN with the token of PIPELINE_API__TOKEN"


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
        token_check: Accepts the API's token; None if the settings have none.
    """

    read: Callable[[], Awaitable[Status]]
    limit_s: float
    generation: int
    supervisor: ActorStates | None = None
    cause: str = "starting"
    fix: str = ""
    token_check: TokenCheck | None = None

    def trusts(self, request: Request) -> bool:
        """Return whether a request carries the API's token; without a token, none is trusted."""
        token = token_in(request.scope)
        return (
            token is not None and self.token_check is not None and self.token_check.accepts(token)
        )


def routes(view: Callable[[], View]) -> APIRouter:
    """Return the routes over what `view` returns at each request."""
    router = APIRouter()

    @router.get("/live", summary="Whether the process answers")
    async def live() -> Response:
        """Requires no store and no actor."""
        return answer({"live": True})

    @router.get("/ready", summary="Whether data progresses")
    async def ready(request: Request) -> Response:
        """
        503 with the reasons if an actor is missing, records wait that nothing reads or can send, or
        no feed stored a record lately. Without a token, the response has no reasons.

        `collecting` says whether this generation does the work: while it waits for the leases of
        another one, data progresses too.
        """
        current = view()
        data = await _data(current)
        reasons = [*_actor_reasons(current), *data.reasons]
        waiting = list(_waiting(current))
        body: dict[str, object] = {
            "ready": not reasons,
            "collecting": not waiting and current.supervisor is not None,
            "generation": current.generation,
        }
        # A probe has no token. Reasons name hosts, topics and errors of the stores.
        if current.trusts(request):
            body |= {"reasons": reasons, "waiting": waiting, "notices": data.notices}
        return answer(body, status=503 if reasons else 200)

    @router.get("/why", summary="One sentence per feed and actor")
    async def why(request: Request) -> Response:
        """The state of each feed and actor, and what would change it. It requires the token."""
        current = view()
        if not current.trusts(request):
            return refusal(401, "a valid token is needed", UNAUTHORIZED_FIX)
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


def _waiting(view: View) -> Iterator[str]:
    """Yield a sentence for each producer and consumer that does not do its work yet."""
    if view.supervisor is None:
        return
    for name in view.supervisor.names:
        status, kind = view.supervisor.statuses.get(name), name.partition("-")[0]
        # A producer without a key never requests its lease.
        has_work = not isinstance(status, Mapping) or status.get("state") != "no_key"
        if kind in {"producer", "consumer"} and has_work and not at_work(kind, status):
            yield str(_actor(name, status)["why"])


async def _data(view: View) -> DataProgress:
    if view.supervisor is None:
        return DataProgress()  # the schema may not exist yet
    try:
        return data_progress(await view.read(), limit_s=view.limit_s)
    except PipelineError as error:
        return DataProgress(reasons=(str(error),))


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
