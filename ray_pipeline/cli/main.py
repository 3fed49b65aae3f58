"""`ray-pipeline`: the command line."""

from collections import UserDict
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperGroup
from typer.main import get_command, get_group

from ray_pipeline import __version__

# Name: the module that has it, and the function or the group there.
COMMANDS = {
    "up": "ray_pipeline.cli.up:up",
    "demo": "ray_pipeline.cli.up:demo",
    "api": "ray_pipeline.cli.api:api",
    "jobs": "ray_pipeline.cli.jobs:jobs",
    "run": "ray_pipeline.cli.jobs:run",
    "backfill": "ray_pipeline.cli.jobs:backfill",
    "plan": "ray_pipeline.cli.jobs:plan",
    "why": "ray_pipeline.cli.jobs:why",
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


class _WhenAsked(UserDict[str, Any]):  # of click's commands, for which typer has no public type
    """Commands by name, each imported when it is looked up: all of them take two seconds."""

    def __getitem__(self, name: str) -> Any:
        if isinstance(found := super().__getitem__(name), str):
            found = self[name] = _load(found)
            found.name = name
        return found


def _load(place: str) -> Any:
    module, _, name = place.partition(":")
    found = getattr(import_module(module), name)
    if isinstance(found, typer.Typer):
        return get_group(found)
    alone = typer.Typer(add_completion=False)
    alone.command()(found)
    return get_command(alone)


class _Commands(TyperGroup):
    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.commands = _WhenAsked({**self.commands, **COMMANDS})


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
    """Typer makes a group only of what has a callback or two commands of its own."""


@app.command()
def version() -> None:
    """Print the version."""
    typer.echo(__version__)


def main() -> None:
    """Run the command line."""
    app()


if __name__ == "__main__":
    main()
