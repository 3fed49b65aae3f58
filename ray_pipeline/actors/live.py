"""Join the cluster of a running pipeline and list its actors, for a notebook."""

import logging
import os
from collections.abc import Callable, Mapping
from typing import Any

import ray

from ray_pipeline.actors import ray_runtime
from ray_pipeline.actors.local_ray import use_environment
from ray_pipeline.errors import Unavailable

LOOPBACK = "127.0.0.1"


def join(
    address: str, *, namespace: str, environment: Mapping[str, str]
) -> Callable[[], None] | None:
    """
    Join a cluster and return the function that leaves it; None if this process has joined before.

    Args:
        address: The address of the cluster.
        namespace: The namespace of its actors.
        environment: Ray's variables for this cluster, which replace those of the process while it
            is joined; empty to use those of the process.

    Raises:
        Unavailable: If no cluster is at that address, it refuses the token, or it runs another
            version of Ray or Python.
    """
    # Joining twice is an error; the call that joined leaves.
    if ray.is_initialized():
        return None
    # Ray reads this from the environment only.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    undo = use_environment(environment) if environment else None
    # A node that was started at the loopback address registers itself under that address only.
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
            fix="is it running, does RAY_AUTH_TOKEN_PATH name its token, and does it run the same "
            "versions of Ray and Python as this process?",
        ) from None

    def disconnect() -> None:
        ray.shutdown()
        if undo is not None:
            undo()

    return disconnect


def names(kind: str, *, namespace: str) -> list[str]:
    """
    Return the names of the named actors of a kind, in order.

    Raises:
        Unavailable: If the cluster does not answer.
    """
    try:
        actors = ray_runtime.living(namespace)
    except Exception as error:
        raise Unavailable(
            f"the Ray cluster does not answer: {type(error).__name__}",
            fix="is the pipeline still running? `connect()` again joins the one that is",
        ) from None
    return sorted(name for name in actors if name.startswith(f"{kind}-"))
