"""The living actors of a cluster, for somebody who did not start them."""

import logging
import os
from collections.abc import Callable, Mapping
from typing import Any

import ray
from ray.util import list_named_actors

from ray_pipeline.actors.local_ray import use_environment
from ray_pipeline.actors.ray_runtime import RayHandle
from ray_pipeline.errors import Unavailable

LOOPBACK = "127.0.0.1"


def join(
    address: str, *, namespace: str, environment: Mapping[str, str]
) -> Callable[[], None] | None:
    """
    Join a cluster and return how to leave it; None if this process is in a cluster already.

    Args:
        address: Where it is.
        namespace: In which its actors live.
        environment: Ray's variables for this cluster, in place of the process's own while it is
            joined; empty to use the process's own.

    Raises:
        Unavailable: If there is none at that address, it refuses the token, or it is another
            release of Ray or Python.
    """
    if ray.is_initialized():
        return None
    # Ray reads this from the environment only.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    undo = use_environment(environment) if environment else None
    # A node that was started at the loopback knows itself by no other address.
    local: dict[str, Any] = {"_node_ip_address": LOOPBACK} if address.startswith(LOOPBACK) else {}
    try:
        ray.init(
            address=address,
            namespace=namespace,
            log_to_driver=False,
            logging_level=logging.WARNING,
            **local,
        )
    except Exception as error:
        if undo is not None:
            undo()
        line = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise Unavailable(
            f"the Ray cluster at {address} cannot be joined: {line[:300]}",
            fix="is it running, does RAY_AUTH_TOKEN_PATH name its token, and has it the same "
            "releases of Ray and Python as this process?",
        ) from None

    def leave() -> None:
        ray.shutdown()
        if undo is not None:
            undo()

    return leave


def names(kind: str, *, namespace: str) -> list[str]:
    """
    Return the names of the named actors of a kind, in order.

    Raises:
        Unavailable: If the cluster went away.
    """
    try:
        found = list_named_actors(all_namespaces=True)
    except Exception as error:
        raise Unavailable(
            f"the Ray cluster does not answer: {type(error).__name__}",
            fix="is the pipeline still running? `connect()` again joins the one that is",
        ) from None
    return sorted(
        one["name"]
        for one in found
        if one["namespace"] == namespace and one["name"].startswith(f"{kind}-")
    )


def handle(name: str, *, namespace: str) -> RayHandle | None:
    """Return the actor of that name; None where there is none any more."""
    try:
        return RayHandle(ray.get_actor(name, namespace=namespace))
    except ValueError:
        return None
