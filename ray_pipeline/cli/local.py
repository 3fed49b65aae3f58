"""`ray-pipeline local`: the embedded servers without the pipeline."""

import contextlib
import os
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated

import typer

from ray_pipeline.errors import ConfigurationError, PipelineError
from ray_pipeline.local import stack
from ray_pipeline.local.announced import announced
from ray_pipeline.local.programs import environment, find
from ray_pipeline.local.state import read_state
from ray_pipeline.settings import load

FAILED = 2

local_app = typer.Typer(
    name="local",
    help="The embedded Postgres, Valkey and broker, without the pipeline. "
    "Their data is in PIPELINE_HOME, and they run until `local down`.",
    no_args_is_help=True,
)

BrokerOption = Annotated[
    str | None,
    typer.Option(
        help="'tansu' (memory only: a restart forgets all records) or 'kafka' (durable; needs "
        "Java and, once, Maven). Default: the broker of the last start, at first tansu."
    ),
]


@local_app.command("up")
def local_up(broker: BrokerOption = None) -> None:
    """
    Start the servers that do not run yet.

    To use them from a shell: eval "$(ray-pipeline local env)"
    """
    with _errors_as_text():
        stack.up(_home(), broker=check_broker(broker), on_progress=_say)
        stack.keep(_home())
    _say(f"data and logs: {_home()}")
    _say('to use them from this shell: eval "$(ray-pipeline local env)"')


@local_app.command("env")
def local_env() -> None:
    """
    Print the variables with which a shell uses the running servers and Ray.

    They contain passwords. Use: eval "$(ray-pipeline local env)". Then `ray job submit`, `ray list
    actors` and the like reach the pipeline's Ray cluster with its token.
    """
    with _errors_as_text():
        home = _home()
        variables = {**stack.env(home), **_ray_variables(home)}
    if not variables:
        _say(f"no server runs in {home}; start them with `ray-pipeline local up`")
        raise typer.Exit(1)
    for name, value in variables.items():
        typer.echo(f"export {name}={shlex.quote(value)}")
    if "RAY_AUTH_TOKEN_PATH" in variables:
        # Ray prefers this variable, which belongs to another cluster.
        typer.echo("unset RAY_AUTH_TOKEN")


def _ray_variables(home: Path) -> Mapping[str, str]:
    """Return Ray's variables of the pipeline that runs in a home; none if no pipeline runs."""
    pipeline = announced(home)
    return pipeline.ray_environment if pipeline is not None else {}


@local_app.command(
    "psql", context_settings={"allow_extra_args": True, "ignore_unknown_options": True}
)
def local_psql(context: typer.Context) -> None:
    """
    Open the database in psql; further arguments are passed to psql.

    The database is that of PIPELINE_POSTGRES__DSN, or else the embedded one. Example: ray-pipeline
    local psql -c "SELECT count(*) FROM sp500_websocket_trades"
    """
    with _errors_as_text():
        program = find("psql")
        os.execve(program, [program, *context.args], environment(_dsn()))  # noqa: S606


def _dsn() -> str:
    configured = load().postgres.dsn
    if configured is not None:
        return configured.get_secret_value()
    try:
        return stack.env(_home())["PIPELINE_POSTGRES__DSN"]
    except KeyError:
        raise ConfigurationError(
            f"no Postgres runs in {_home()}", fix="start it with `ray-pipeline local up`"
        ) from None


@local_app.command("down")
def local_down() -> None:
    """Stop the servers. Their data is kept, except that of a broker in memory."""
    with _errors_as_text(), stack.claim(_home()):
        stack.down(_home(), on_progress=_say)


@local_app.command("status")
def local_status() -> None:
    """Show which servers run, their ports, and their logs."""
    with _errors_as_text():
        servers = read_state(_home())
    _say(f"home: {_home()}")
    for kind, server in servers.items():
        where = f"127.0.0.1:{server.port}, pid {server.pid}" if server.alive else "not running"
        typer.echo(f"{kind:10}{where}, log {stack.log_file(_home(), kind)}")
    if not servers:
        _say("no server was started here; start them with `ray-pipeline local up`")


def _home() -> Path:
    return load().home_dir()


def check_broker(name: str | None) -> stack.Broker | None:
    """
    Return the broker of that name.

    Raises:
        typer.BadParameter: If the broker does not exist.
    """
    match name:
        case None | "tansu" | "kafka":
            return name
    raise typer.BadParameter(f"{name!r} is no broker; there are 'tansu' and 'kafka'")


def _say(line: str) -> None:
    """Print progress to stderr, apart from the data of a command."""
    typer.echo(line, err=True)


@contextlib.contextmanager
def _errors_as_text() -> Iterator[None]:
    try:
        yield
    except PipelineError as error:
        _say(f"error: {error}")
        raise typer.Exit(FAILED) from None
