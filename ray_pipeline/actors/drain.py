"""
Before a node ends: move its actors to other nodes.

The successor of a producer starts on another node first, and waits for the lease. The producer then
publishes what it has and releases the lease, and the successor takes it within a second. All other
actors stop, and Ray restarts them on another node: no data is lost meanwhile.
"""

import asyncio
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import ray
from ray._raylet import GcsClient  # type: ignore[attr-defined]
from ray.core.generated.autoscaler_pb2 import DrainNodeReason  # type: ignore[attr-defined]
from ray.util.state import list_actors

from ray_pipeline.actors import ray_runtime
from ray_pipeline.actors.desired import Desired, desired
from ray_pipeline.actors.generations import NAME, at_work, twin
from ray_pipeline.actors.ray_runtime import ActorUnreachable, RayHandle
from ray_pipeline.errors import Unavailable
from ray_pipeline.settings import Settings

log = logging.getLogger(__name__)

# For all successors of a node together. Pods have 150 s: the remaining time is for the stops.
MOVE_S = 60.0
POLL_S = 0.5
REASON = "ray-pipeline drain-node"


async def drain_node(settings: Settings, *, drain_s: float, node: str = "") -> dict[str, bool]:
    """
    Move the pipeline's actors from the node with this id, by default from this process's node.

    Ray starts nothing on the node from now on, and ends it when nothing runs there any more.

    Returns:
        Whether each actor finished in time, by name.

    Raises:
        Unavailable: If this node, or the cluster's head, does not answer.
        Exception: If an actor failed; the others have stopped then.
    """
    try:
        names = await _join(settings, node)
        draining = Draining(settings, drain_s=drain_s, deadline_s=time.monotonic() + MOVE_S)
        # Producers first: the consumers of this node store what they still publish.
        producers = [name for name in names if name.startswith("producer-")]
        results = await draining.move(producers)
        results |= await draining.stop([name for name in names if name not in producers])
    finally:
        # Also after a failed listing: an open connection would keep the process alive.
        ray.shutdown()
    return {name: _finished(result) for name, result in results.items()}


Result = bool | BaseException
"""Whether an actor finished in time, or why it failed. The others must stop all the same."""


def _finished(result: Result) -> bool:
    if isinstance(result, BaseException):
        raise result
    return result


@dataclass(frozen=True, slots=True)
class Draining:
    """
    The actors' way from one node to others.

    Attributes:
        deadline_s: On `time.monotonic`: the producers stop then, even if their successors have not
            started yet.
    """

    settings: Settings
    drain_s: float
    deadline_s: float

    async def move(self, names: Sequence[str]) -> dict[str, Result]:
        """Replace each producer by a successor on another node; see `drain_node`."""
        places = asyncio.Semaphore(ray_runtime.STARTED_TOGETHER)
        specs = {actor.name: actor for actor in desired(self.settings)}
        specs |= {twin(name): actor for name, actor in specs.items()}

        async def move(name: str) -> bool:
            async with places:
                return await self._move(name, specs.get(name))

        results = await asyncio.gather(*map(move, names), return_exceptions=True)
        return dict(zip(names, results, strict=True))

    async def stop(self, names: Sequence[str]) -> dict[str, Result]:
        """Stop the actors at once and let Ray restart each on another node."""
        stops = (self._stop(name, restart=True) for name in names)
        results = await asyncio.gather(*stops, return_exceptions=True)
        return dict(zip(names, results, strict=True))

    async def _move(self, name: str, spec: Desired | None) -> bool:
        handle = self._find(name)
        if handle is None:
            return True
        if spec is None or not at_work(spec.kind, await _status(handle)):
            return await self._stop(name, restart=True)
        try:
            await self._start_successor(replace(spec, name=twin(name)))
        except Exception:
            log.exception("no successor of %s", name)
            return await self._stop(name, restart=True)
        return await self._stop(name, restart=False)

    async def _start_successor(self, spec: Desired) -> None:
        """Start the successor, and wait until it waits for the lease, or for the deadline."""
        handle = await asyncio.to_thread(ray_runtime.start, spec, self.settings)
        while (left_s := self.deadline_s - time.monotonic()) > 0:
            status = await _status(handle, timeout_s=left_s)
            if isinstance(status, dict) and status.get("state") != "starting":
                return
            await asyncio.sleep(POLL_S)
        # It keeps its place: it starts as soon as a node has room for it.
        log.warning("%s has not started on another node yet", spec.name)

    async def _stop(self, name: str, *, restart: bool) -> bool:
        handle = self._find(name)
        if handle is None:
            return True
        return await ray_runtime.end(name, handle, drain_s=self.drain_s, restart=restart)

    def _find(self, name: str) -> RayHandle | None:
        return ray_runtime.find(name, self.settings.ray.namespace)


async def _status(
    handle: RayHandle, *, timeout_s: float = ray_runtime.CALL_TIMEOUT_S
) -> object | None:
    """Return the actor's status; None if it does not answer."""
    try:
        return await handle.call("status", timeout_s=timeout_s)
    except ActorUnreachable:
        return None


async def _join(settings: Settings, node: str) -> list[str]:
    """Join the cluster, close the node for new actors, and return the names of its actors."""
    try:
        ray.init(
            address="auto",
            namespace=settings.ray.namespace,
            log_to_driver=False,
            logging_level=logging.WARNING,
        )
        node = node or ray.get_runtime_context().get_node_id()
        await asyncio.to_thread(_close_to_new_actors, node)
        return await asyncio.to_thread(_names, node)
    except Exception as error:
        raise Unavailable(
            f"the actors of this node cannot be listed: {type(error).__name__}",
            fix="their leases expire within PIPELINE_STREAMS__LEASE_TTL_S",
        ) from None


def _close_to_new_actors(node: str) -> None:
    """
    Mark the node as draining, so that Ray schedules nothing on it.

    Of the two reasons that Ray knows, only a preemption is accepted while actors run there.
    """
    # Ray has no public function for it; its command `ray drain-node` does the same.
    client = GcsClient(address=ray_runtime.address())
    client.drain_node(node, DrainNodeReason.DRAIN_NODE_REASON_PREEMPTION, REASON, 0)


def _names(node: str) -> list[str]:
    actors = list_actors(filters=[("node_id", "=", node), ("state", "=", "ALIVE")], limit=1000)
    names = (str(actor["name"] or "") for actor in actors)
    return sorted(name for name in names if NAME.fullmatch(name))
