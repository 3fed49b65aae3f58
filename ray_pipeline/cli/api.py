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

Host = Annotated[
    str | None, typer.Option(help="The address to listen on. Default: PIPELINE_API__HOST.")
]
Port = Annotated[
    int | None, typer.Option(help="The port to listen on. Default: PIPELINE_API__PORT.")
]
AnyPort = Annotated[
    bool,
    typer.Option(help="Use a free port if the named port is taken. The default port always may."),
]
UntilStdinEnds = Annotated[
    bool,
    typer.Option(
        help="End at the end of standard input, and print the address as JSON: for programs that "
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

    It needs Postgres and Redis, and not Ray; on a cluster, Ray Serve runs the same application. If
    PIPELINE_API__TOKEN is not set, a random token is generated and printed.
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


api = command(_api, runner=uvloop.run)  # serves twice as many requests a second as asyncio's loop


def allow_open_files() -> None:
    """
    Raise this process's limit of open files to its hard limit; every connection is an open file.

    The usual soft limit of 1,024 protects programs that call select(), and is less than
    PIPELINE_API__MAX_CLIENTS.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):  # macOS rejects "unlimited"
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def listen_at(host: str, port: int, *, or_any: bool) -> socket.socket:
    """
    Return a listening socket; with `or_any`, on a free port if that port is taken.

    Raises:
        ServerError: If the address cannot be listened on.
    """
    try:
        listener = listen(host, port)
    except ServerError:
        if not or_any:
            raise
        listener = listen(host, 0)
        typer.echo(f"port {port} is taken; using another one", err=True)
    # Accepted connections inherit the option; asyncio sets it only on sockets that it creates.
    # Without it, a response's body waits 40 ms until the client acknowledges the headers.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


def _is_named(port: int | None, settings: Settings) -> bool:
    """Return whether the user chose the port; the default may be replaced."""
    return port is not None or "port" in settings.api.model_fields_set


async def _serve(settings: Settings, listener: socket.socket, *, until_stdin_ends: bool) -> int:
    token, generated = token_of(settings)
    serving = server(settings, token=token)
    if until_stdin_ends:
        asyncio.get_running_loop().add_reader(sys.stdin, _read_stdin, serving)
    gc.freeze()  # collections need not scan the imported modules, which stay
    # The socket listens already: clients that connect before the server is ready wait.
    _announce(_url(listener), token if generated else None, as_json=until_stdin_ends)
    await serving.serve(sockets=[listener])
    return 0 if serving.started else 1


def _announce(url: str, token: str | None, *, as_json: bool) -> None:
    if as_json:
        print(json.dumps({"url": url, "token": token}), flush=True)
        return
    # A browser does not send the part after the #: the token is in no request and no log.
    typer.echo(f"page and API: {url}" + (f"#token={token}" if token else ""), err=True)
    if token:
        typer.echo(f"token, for this run only: {token}", err=True)


def _url(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    address = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - not to bind to
    return f"http://[{address}]:{port}/" if ":" in address else f"http://{address}:{port}/"


def _read_stdin(serving: uvicorn.Server) -> None:
    # Input is discarded; an empty read is the end of standard input.
    if not os.read(sys.stdin.fileno(), 1024):
        asyncio.get_running_loop().remove_reader(sys.stdin)
        serving.should_exit = True
