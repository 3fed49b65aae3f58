"""`ray-pipeline backup` and `restore`."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from ray_pipeline.cli.common import command
from ray_pipeline.local import pg_dump as files
from ray_pipeline.providers.quota import Window
from ray_pipeline.providers.registry import all_providers
from ray_pipeline.settings import load
from ray_pipeline.timestamps import in_utc

MIB = 2**20
To = Annotated[Path, typer.Argument(help="The file to write.", dir_okay=False)]
From = Annotated[Path, typer.Argument(help="A file that `backup` wrote.")]


@command
async def backup(file: To) -> int:
    """
    Write the whole database to one file, while the pipeline runs.

    Rows and Kafka offsets are of one moment: later records are still in Kafka, for as long as its
    topics retain them. The file is verified before it gets its name.
    """
    size_bytes = await files.backup(load().postgres_dsn(), file)
    typer.echo(f"{file}: {size_bytes / MIB:.1f} MiB")
    return 0


@command
async def restore(file: From) -> int:
    """
    Fill an empty database from a backup, completely or not at all.

    No other program may write to it meanwhile. The next `up` stores the records in Kafka that are
    newer than the backup, each once, and rebuilds Redis. The calls that were made after the backup
    are unknown, so every quota window that is open now counts as used up.
    """
    settings = load()
    tables = await files.restore(settings.postgres_dsn(), file)
    typer.echo(f"restored {tables} tables; start the pipeline, then look at `ray-pipeline audit`")
    typer.echo("calls made after the backup are unknown: open quota windows count as used up")
    for title, window in _longest_windows(settings.key_fingerprints()):
        end = in_utc(window.end(datetime.now(UTC)))
        typer.echo(f"  {title} {window.name}: no call before {end:%Y-%m-%d %H:%M} UTC")
    return 0


def _longest_windows(keys: Mapping[str, Sequence[str]]) -> Iterator[tuple[str, Window]]:
    """Yield the title and the longest window of each provider that can be called."""
    for provider in all_providers():
        window = provider.quota.longest()
        if window is not None and (keys.get(provider.name) or not provider.needs_key):
            yield provider.title, window
