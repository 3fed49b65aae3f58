"""Before a node goes: its actors bring what they hold to safety, and give their leases back."""

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
    Stop the pipeline's actors of a node, by its id; else of the node that this process is on.

    Ray tells an actor nothing when its node ends; without this, whoever takes its work over would
    have to wait until its lease has run out.

    Returns:
        Whether each finished in time, by name.

    Raises:
        Unavailable: If this node, or the cluster's head, does not answer.
    """
    try:
        ray.init(
            address="auto",
            namespace=settings.ray.namespace,
            log_to_driver=False,
            logging_level=logging.WARNING,
        )
        names = await asyncio.to_thread(_names, node)
    except Exception as error:
        raise Unavailable(
            f"the actors of this node cannot be listed: {type(error).__name__}",
            fix="their leases run out by themselves within PIPELINE_STREAMS__LEASE_TTL_S",
        ) from None
    try:
        # Producers first: what they still publish is stored by whoever is left.
        producers = [name for name in names if name.startswith("producer-")]
        others = [name for name in names if name not in producers]
        done = [
            *await asyncio.gather(*(_stop(name, settings, drain_s) for name in producers)),
            *await asyncio.gather(*(_stop(name, settings, drain_s) for name in others)),
        ]
    finally:
        ray.shutdown()
    return dict(zip(producers + others, done, strict=True))


def _names(node: str) -> list[str]:
    node = node or ray.get_runtime_context().get_node_id()
    found = list_actors(filters=[("node_id", "=", node), ("state", "=", "ALIVE")], limit=1000)
    return sorted(str(one["name"]) for one in found if NAME.fullmatch(str(one["name"] or "")))


async def _stop(name: str, settings: Settings, drain_s: float) -> bool:
    handle = ray_runtime.find(name, settings)
    return True if handle is None else await handle.stop(name, drain_s=drain_s)
