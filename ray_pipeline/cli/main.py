"""`ray-pipeline`: the command line."""

from collections import UserDict
from importlib import import_module
from types import ModuleType
from typing import Any

import typer
from typer.core import TyperGroup
from typer.main import get_command, get_group

from ray_pipeline import __version__

# The module of each command, and its function or its group of commands.
COMMANDS = {
    "up": "ray_pipeline.cli.up:up",
    "demo": "ray_pipeline.cli.up:demo",
    "api": "ray_pipeline.cli.api:api",
    "jobs": "ray_pipeline.cli.jobs:jobs",
    "run": "ray_pipeline.cli.collect:run",
    "backfill": "ray_pipeline.cli.collect:backfill",
    "plan": "ray_pipeline.cli.jobs:plan",
    "why": "ray_pipeline.cli.reasons:why",
    "runs": "ray_pipeline.cli.jobs:runs",
    "findings": "ray_pipeline.cli.jobs:findings",
    "quotas": "ray_pipeline.cli.jobs:quotas",
    "audit": "ray_pipeline.cli.observe:audit",
    "status": "ray_pipeline.cli.observe:status",
    "gaps": "ray_pipeline.cli.observe:gaps",
    "migrate": "ray_pipeline.cli.observe:migrate",
    "doctor": "ray_pipeline.cli.observe:doctor",
    "replay": "ray_pipeline.cli.archive:replay",
    "lint": "ray_pipeline.cli.lint:lint",
    "backup": "ray_pipeline.cli.backup:backup",
    "restore": "ray_pipeline.cli.backup:restore",
    "drain-node": "ray_pipeline.cli.node:drain_node",
    "new": "ray_pipeline.cli.jobs:new_app",
    "dlq": "ray_pipeline.cli.dlq:dlq_app",
    "deploy": "ray_pipeline.cli.deploy:deploy_app",
    "local": "ray_pipeline.cli.local:local_app",
    "simulate": "ray_pipeline.simulators.command:simulate_app",
}

# The extra that contains a package which a module of a command imports.
EXTRAS = {"kubernetes": "deploy"}


class _LazyCommands(UserDict[str, Any]):  # typer has no public type for click's commands
    """Commands by name, each imported on lookup: importing all of them takes two seconds."""

    def __getitem__(self, name: str) -> Any:
        command = super().__getitem__(name)
        if isinstance(command, str):
            command = self[name] = _load(command)
            command.name = name
        return command


def _load(path: str) -> Any:
    module, _, name = path.partition(":")
    target = getattr(_imported(module), name)
    if isinstance(target, typer.Typer):
        return get_group(target)
    # Typer builds click commands only for an application: one is created for this function.
    application = typer.Typer(add_completion=False)
    application.command()(target)
    return get_command(application)


def _imported(module: str) -> ModuleType:
    """Import the module; without an extra that it needs, print how to install it, and exit."""
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        package = str(error.name).partition(".")[0]
        if package not in EXTRAS:
            raise
        typer.echo(f"error: the package {package} is not installed", err=True)
        typer.echo(f"  fix: pip install 'ray-pipeline[{EXTRAS[package]}]'", err=True)
        raise SystemExit(1) from None


class _Commands(TyperGroup):
    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.commands = _LazyCommands({**self.commands, **COMMANDS})


app = typer.Typer(
    name="ray-pipeline",
    cls=_Commands,
    help="Collect market data on Ray: every record stored once, every loss written down. "
    "Begin with `ray-pipeline demo`; it needs no keys and no network.",
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,
)


@app.callback()
def _options() -> None:
    """Make this application a group: Typer does so only with a callback or two commands."""


@app.command()
def version() -> None:
    """Print the version."""
    typer.echo(__version__)


def main() -> None:
    """Run the command line."""
    app()


if __name__ == "__main__":
    main()
