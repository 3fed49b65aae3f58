"""
Back Postgres up into a file, and restore it: by Postgres' own programs.

The offsets of Kafka are in the same database as the rows, so a restored one goes on exactly where
it was: what Kafka still has is stored once more, and nothing twice.
"""

import asyncio
from pathlib import Path

from psycopg.conninfo import conninfo_to_dict

from ray_pipeline.errors import ConfigurationError, PipelineError
from ray_pipeline.local.programs import environment, find
from ray_pipeline.storage.postgres.connection import session

TABLES = "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"
# Epochs that were given out after the backup are known to Kafka, and to nobody here: a producer
# that took one again would number its records like the earlier one's, and they would be refused.
SKIPPED_EPOCHS = 1_000_000
NEW_ERA = "UPDATE leases SET epoch = epoch + %s, holder = NULL, expires_at = 'epoch'"


async def backup(dsn: str, file: Path) -> int:
    """
    Write the database to a file, and return its size in bytes.

    It is written beside, read through once, and renamed: a file of that name is whole. What goes on
    being written meanwhile is not in it.

    Raises:
        PipelineError: If pg_dump fails; the message is its own.
    """
    part = file.with_name(f"{file.name}.part")
    part.parent.mkdir(parents=True, exist_ok=True)
    try:
        await _run("pg_dump", dsn, "--format=custom", "--compress=6", f"--file={part}")
        await _run("pg_restore", dsn, "--list", str(part))
        part.replace(file)
    finally:
        part.unlink(missing_ok=True)
    return (await asyncio.to_thread(file.stat)).st_size


async def restore(dsn: str, file: Path) -> int:
    """
    Fill an empty database from a backup, all of it or nothing; return how many tables it has.

    Raises:
        ConfigurationError: If the database is not empty, or the file is not there.
        PipelineError: If pg_restore fails; the message is its own.
    """
    if not await asyncio.to_thread(file.is_file):
        raise ConfigurationError(f"there is no file {file}", fix="name one that `backup` wrote")
    if await _tables(dsn):
        raise ConfigurationError(
            "the database is not empty",
            fix="restore into a new one: CREATE DATABASE ..., and PIPELINE_POSTGRES__DSN of it",
        )
    await _run(
        "pg_restore", dsn, "--no-owner", "--exit-on-error", "--single-transaction",
        f"--dbname={conninfo_to_dict(dsn).get('dbname') or 'postgres'}", str(file),
    )  # fmt: skip
    async with session(dsn, name="restore") as connection:
        await connection.execute(NEW_ERA, (SKIPPED_EPOCHS,))
    return await _tables(dsn)


async def _tables(dsn: str) -> int:
    async with session(dsn, name="restore") as connection:
        row = await (await connection.execute(TABLES)).fetchone()
    return int(row[0]) if row else 0


async def _run(program: str, dsn: str, *arguments: str) -> None:
    process = await asyncio.create_subprocess_exec(
        find(program), *arguments, env=environment(dsn),
        stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        _, said = await process.communicate()
    except asyncio.CancelledError:
        process.terminate()
        await process.wait()
        raise
    if process.returncode:
        lines = said.decode(errors="replace").strip().splitlines()
        raise PipelineError(f"{program}: {lines[0] if lines else process.returncode}")
