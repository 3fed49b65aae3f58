"""`ray-pipeline backup` and `restore`."""

from pathlib import Path
from typing import Annotated

import typer

from ray_pipeline.cli.common import command
from ray_pipeline.local import pg_dump as files
from ray_pipeline.settings import load

MIB = 2**20
To = Annotated[Path, typer.Argument(help="The file to write.", dir_okay=False)]
From = Annotated[Path, typer.Argument(help="A file that `backup` wrote.")]


@command
async def backup(file: To) -> int:
    """
    Write everything that is in Postgres to one file, while everything goes on running.

    Rows and Kafka's offsets are of one moment: what is not in the file is still in Kafka, for as
    long as its topics keep it. The file is read through once before it gets its name.
    """
    size_bytes = await files.backup(load().postgres_dsn(), file)
    typer.echo(f"{file}: {size_bytes / MIB:.1f} MiB")
    return 0


@command
async def restore(file: From) -> int:
    """
    Fill an empty database from a backup, all of it or nothing.

    Nothing else may write to it meanwhile. The next `up` stores what Kafka has beyond the backup,
    each record once, and rebuilds Redis.
    """
    tables = await files.restore(load().postgres_dsn(), file)
    typer.echo(f"restored {tables} tables; start the pipeline, then look at `ray-pipeline audit`")
    return 0
