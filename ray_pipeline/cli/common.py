"""What every command shares: errors with their fix instead of a traceback, and output."""

import asyncio
import functools
import json
from collections.abc import Callable, Coroutine
from datetime import date, datetime
from decimal import Decimal
from typing import Annotated, Any, ParamSpec

import psycopg
import typer
from rich.console import Console, RenderableType

from ray_pipeline.catalog import all_jobs
from ray_pipeline.errors import PipelineError
from ray_pipeline.feeds.feed_registry import FEEDS
from ray_pipeline.storage.postgres.database_errors import unavailable

P = ParamSpec("P")
FAILED = 2  # could not be done; 1 says that it was done and found something wrong

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
Feed = Annotated[
    str | None,
    typer.Option(
        help=f"Only this feed, {', '.join(spec.name for spec in FEEDS)}, or this batch job."
    ),
]


def command(
    function: Callable[P, Coroutine[Any, Any, int]],
    *,
    runner: Callable[[Coroutine[Any, Any, int]], int] = asyncio.run,
) -> Callable[P, None]:
    """
    Turn an async function that returns an exit code into a command; `runner` runs it.

    A PipelineError is printed to stderr with its fix and without a traceback; the exit code is 2.
    """

    @functools.wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            code = runner(function(*args, **kwargs))
        except PipelineError as error:
            typer.echo(f"error: {error}", err=True)
            raise typer.Exit(FAILED) from None
        except psycopg.Error as error:
            typer.echo(f"error: {unavailable(error)}", err=True)
            raise typer.Exit(FAILED) from None
        except KeyboardInterrupt:
            raise typer.Exit(130) from None
        if code:
            raise typer.Exit(code)

    return run


def check_feed(name: str | None) -> str | None:
    """
    Return the name of a feed, None for all of them.

    Raises:
        PipelineError: If no feed and no job has this name.
    """
    names = [spec.name for spec in FEEDS]
    if name is not None and name not in names and name not in {spec.name for spec in all_jobs()}:
        raise PipelineError(f"no feed {name!r}", fix=f"one of {', '.join(names)}, or a job's name")
    return name


def print_json(data: object) -> None:
    """Print data as JSON; times in ISO 8601, bytes as text."""
    typer.echo(json.dumps(data, default=_plain, indent=2, ensure_ascii=False))


def show(page: RenderableType) -> None:
    """Print a page. Into a pipe it is printed without wrapping its tables."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=240, no_color=True)
    console.print(page)


def _plain(value: object) -> object:
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    if isinstance(value, Decimal):
        return str(value)
    raise TypeError(f"{type(value).__name__} has no JSON form")
