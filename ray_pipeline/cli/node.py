"""`ray-pipeline drain-node`: the hook that a pod runs before it ends."""

from typing import Annotated

import typer

from ray_pipeline import settings as settings_module
from ray_pipeline.actors.drain import drain_node as drain
from ray_pipeline.cli.common import command

DrainSeconds = Annotated[
    float | None,
    typer.Option("--for", min=1, help="Seconds to wait. Default: PIPELINE_STREAMS__DRAIN_S."),
]


NodeId = Annotated[
    str, typer.Option("--node", help="The id that `ray list nodes` shows. Default: this node.")
]


@command
async def drain_node(seconds: DrainSeconds = None, node: NodeId = "") -> int:
    """
    Move the actors of a Ray node to other nodes before the node ends.

    A hook for `preStop` of a pod: successors start on other nodes, then the actors flush their data
    to Kafka and Postgres and release their leases. Ray starts nothing on the node any more. Exit
    status: 1 if an actor did not finish in time.
    """
    settings = settings_module.load()
    stopped = await drain(settings, drain_s=seconds or settings.streams.drain_s, node=node)
    for name, finished in stopped.items():
        typer.echo(f"{name}: {'stopped' if finished else 'did not finish in time'}")
    typer.echo(f"{len(stopped)} actors of the node")
    return 0 if all(stopped.values()) else 1
