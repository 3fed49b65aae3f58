"""`ray-pipeline api`: the API and its page, without Ray."""

import gc
from typing import Annotated

import typer

from ray_pipeline.api.server import server, token_of
from ray_pipeline.commands.common import command
from ray_pipeline.settings import ApiSettings, Settings, load

Host = Annotated[str | None, typer.Option(help="Where to listen; PIPELINE_API__HOST.")]
Port = Annotated[int | None, typer.Option(help="At which port; PIPELINE_API__PORT.")]


@command
async def api(host: Host = None, port: Port = None) -> int:
    """
    Serve the API and its page until Ctrl-C, in this process.

    It reads Postgres and Redis and needs nothing else; on a cluster Ray Serve does the same. A
    random token is made and printed where PIPELINE_API__TOKEN is not set.
    """
    settings = load()
    values = settings.api.model_dump() | {
        name: value for name, value in (("host", host), ("port", port)) if value is not None
    }
    return await serve_locally(settings.model_copy(update={"api": ApiSettings(**values)}))


async def serve_locally(settings: Settings) -> int:
    """Serve until the process is told to stop; print where, and a token that was made up."""
    token, made_up = token_of(settings)
    serving = server(settings, token=token)
    at = f"http://{settings.api.host}:{settings.api.port}/"
    typer.echo(f"page and API at {at}", err=True)
    if made_up:
        typer.echo(f"token, for this run only: {token}", err=True)
    gc.freeze()  # what was imported stays; a collection need not walk through it
    await serving.serve()
    return 0 if serving.started else 1
