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
    newer than the backup, each once, and rebuilds Redis.
    """
    tables = await files.restore(load().postgres_dsn(), file)
    typer.echo(f"restored {tables} tables; start the pipeline, then look at `ray-pipeline audit`")
    return 0
