"""Before a node ends: let its actors flush their data and release their leases."""

import asyncio
import logging

import ray
from ray.util.state import list_actors

from ray_pipeline.actors import ray_runtime
from ray_pipeline.actors.generations import NAME
from ray_pipeline.errors import Unavailable
from ray_pipeline.settings import Settings


async def drain_node(settings: Settings, *, drain_s: float, node: str = "") -> dict[str, bool]:
    """
    Stop the pipeline's actors of the node with this id, by default of this process's node.

    Ray does not notify an actor when its node ends: its successor would have to wait until the
    lease expires.

    Returns:
        Whether each actor finished in time, by name.

    Raises:
        Unavailable: If this node, or the cluster's head, does not answer.
        Exception: If an actor failed; the others have stopped then.
    """
    try:
        names = await _join(settings, node)
        # Producers first: the consumers of this node store what they still publish.
        producers = [name for name in names if name.startswith("producer-")]
        results: dict[str, bool | BaseException] = {}
        # All actors of a group at once: each may take the whole time to drain. One that fails must
        # not leave the others with their leases.
        for group in (producers, [name for name in names if name not in producers]):
            stops = (_stop(name, settings, drain_s) for name in group)
            stopped = await asyncio.gather(*stops, return_exceptions=True)
            results |= zip(group, stopped, strict=True)
    finally:
        # Also after a failed listing: an open connection would keep the process alive.
        ray.shutdown()
    return {name: _finished(result) for name, result in results.items()}


def _finished(result: bool | BaseException) -> bool:
    if isinstance(result, BaseException):
        raise result
    return result


async def _join(settings: Settings, node: str) -> list[str]:
    """Join the cluster and return the names of the node's actors; see `drain_node`."""
    try:
        ray.init(
            address="auto",
            namespace=settings.ray.namespace,
            log_to_driver=False,
            logging_level=logging.WARNING,
        )
        return await asyncio.to_thread(_names, node)
    except Exception as error:
        raise Unavailable(
            f"the actors of this node cannot be listed: {type(error).__name__}",
            fix="their leases expire within PIPELINE_STREAMS__LEASE_TTL_S",
        ) from None


def _names(node: str) -> list[str]:
    node = node or ray.get_runtime_context().get_node_id()
    actors = list_actors(filters=[("node_id", "=", node), ("state", "=", "ALIVE")], limit=1000)
    names = (str(actor["name"] or "") for actor in actors)
    return sorted(name for name in names if NAME.fullmatch(name))


async def _stop(name: str, settings: Settings, drain_s: float) -> bool:
    handle = ray_runtime.find(name, settings.ray.namespace)
    return True if handle is None else await handle.stop(name, drain_s=drain_s)
