"""`ray-pipeline api`: the API and its page, without Ray."""

import asyncio
import contextlib
import gc
import json
import os
import resource
import socket
import sys
from typing import Annotated

import typer
import uvicorn
import uvloop

from ray_pipeline.api.server import server, token_of
from ray_pipeline.cli.common import command
from ray_pipeline.errors import ServerError
from ray_pipeline.settings import Settings, load
from ray_pipeline.storage.listener import listen

Host = Annotated[str | None, typer.Option(help="Where to listen; PIPELINE_API__HOST.")]
Port = Annotated[int | None, typer.Option(help="At which port; PIPELINE_API__PORT.")]
AnyPort = Annotated[
    bool,
    typer.Option(help="Another port if the one that was named is taken; the default always is."),
]
UntilStdinEnds = Annotated[
    bool,
    typer.Option(
        help="End when standard input does, and print the address as JSON: for programs that "
        "start this one."
    ),
]


async def _api(
    host: Host = None,
    port: Port = None,
    any_port: AnyPort = False,
    until_stdin_ends: UntilStdinEnds = False,
) -> int:
    """
    Serve the API and its page until Ctrl-C, in this process.

    It reads Postgres and Redis and needs nothing else; on a cluster Ray Serve does the same. A
    random token is made and printed where PIPELINE_API__TOKEN is not set.
    """
    settings = load()
    allow_open_files()
    listener = listen_at(
        settings.api.host if host is None else host,
        settings.api.port if port is None else port,
        or_any=any_port or not _is_named(port, settings),
    )
    with listener:
        return await _serve(settings, listener, until_stdin_ends=until_stdin_ends)


api = command(_api, runner=uvloop.run)  # twice the requests a second that asyncio's own loop gives


def allow_open_files() -> None:
    """
    Allow this process as many open files as its hard limit does; every connection is one.

    The usual soft limit of 1,024 is for programs that call select(), and less than
    PIPELINE_API__MAX_CLIENTS.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):  # macOS takes no "unlimited"
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def listen_at(host: str, port: int, *, or_any: bool) -> socket.socket:
    """
    Return a socket that listens; with `or_any` at another port if that one is taken.

    Raises:
        ServerError: If nobody can listen there.
    """
    try:
        listener = listen(host, port)
    except ServerError:
        if not or_any:
            raise
        listener = listen(host, 0)
        typer.echo(f"port {port} is taken; using another one", err=True)
    # Connections inherit it. asyncio sets it only where a socket names its protocol, and
    # without it an answer's body waits 40 ms for the client to acknowledge the headers.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


def _is_named(port: int | None, settings: Settings) -> bool:
    """Say whether the user chose the port; the default is only a wish."""
    return port is not None or "port" in settings.api.model_fields_set


async def _serve(settings: Settings, listener: socket.socket, *, until_stdin_ends: bool) -> int:
    token, made_up = token_of(settings)
    serving = server(settings, token=token)
    if until_stdin_ends:
        asyncio.get_running_loop().add_reader(sys.stdin, _read_stdin, serving)
    gc.freeze()  # what was imported stays; a collection need not walk through it
    # It listens already: whoever comes before the server is ready waits for it.
    _tell(_url(listener), token if made_up else None, as_json=until_stdin_ends)
    await serving.serve(sockets=[listener])
    return 0 if serving.started else 1


def _tell(url: str, token: str | None, *, as_json: bool) -> None:
    if as_json:
        print(json.dumps({"url": url, "token": token}), flush=True)
        return
    # Behind the # a browser keeps it to itself: it is in no request and in no server's log.
    typer.echo(f"page and API: {url}" + (f"#token={token}" if token else ""), err=True)
    if token:
        typer.echo(f"token, for this run only: {token}", err=True)


def _url(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    here = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - not to bind to
    return f"http://[{here}]:{port}/" if ":" in here else f"http://{here}:{port}/"


def _read_stdin(serving: uvicorn.Server) -> None:
    if not os.read(sys.stdin.fileno(), 1024):
        asyncio.get_running_loop().remove_reader(sys.stdin)
        serving.should_exit = True
