"""`ray-pipeline local`: the embedded servers alone."""

import shlex
from typing import Annotated

import typer

from ray_pipeline.local import stack

local_app = typer.Typer(
    name="local",
    help="The embedded Postgres, Valkey and broker, without the pipeline. "
    "They live in PIPELINE_HOME and go on until `local down`.",
    no_args_is_help=True,
)


def say(line: str) -> None:
    """Print progress where it does not get between a command's data."""
    typer.echo(line, err=True)


@local_app.command("up")
def local_up(
    broker: Annotated[
        str | None,
        typer.Option(
            help="'tansu' (memory only) or 'kafka' (durable; needs Java and, once, Maven). "
            "Default: the one used here last, tansu at first.",
        ),
    ] = None,
) -> None:
    """Start the servers, or find them running. Then: eval "$(ray-pipeline local env)"."""
    stack.up(stack.home(), broker=check_broker(broker), on_progress=say)
    say(f"data and logs: {stack.home()}")


@local_app.command("env")
def local_env() -> None:
    """Print `export PIPELINE_...` lines for a shell: eval "$(ray-pipeline local env)"."""
    environment = stack.running(stack.home()).environment()
    if not environment:
        say(f"no server runs in {stack.home()}; start them with `ray-pipeline local up`")
        raise typer.Exit(1)
    for name, value in environment.items():
        typer.echo(f"export {name}={shlex.quote(value)}")


@local_app.command("down")
def local_down() -> None:
    """Stop the servers. Their data stays, except what a memory-only broker held."""
    stack.down(stack.home(), on_progress=say)


@local_app.command("status")
def local_status() -> None:
    """Say which servers run, and where."""
    found = stack.running(stack.home())
    for name, value in (
        ("postgres", found.postgres_dsn),
        ("redis", found.redis_url),
        (f"kafka ({found.broker or 'none'})", found.kafka_bootstrap_servers),
    ):
        typer.echo(f"{name:16} {value or 'not running'}")


def check_broker(name: str | None) -> stack.Broker | None:
    """
    Return the broker a user named.

    Raises:
        typer.BadParameter: If there is no such broker.
    """
    match name:
        case None | "tansu" | "kafka":
            return name
    raise typer.BadParameter(f"{name!r} is no broker; there are 'tansu' and 'kafka'")
