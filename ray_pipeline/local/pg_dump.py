"""
Back up Postgres into a file and restore it, with pg_dump and pg_restore.

Rows and Kafka's offsets are in the same database, so a backup contains them as of one moment. After
a restore, consumers read again from these offsets: records that Kafka still has are stored exactly
once.
"""

import asyncio
from pathlib import Path

from psycopg.conninfo import conninfo_to_dict

from ray_pipeline.errors import ConfigurationError, PipelineError
from ray_pipeline.local.programs import environment, find
from ray_pipeline.storage.postgres.connection import session

TABLES = "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"
# Records in Kafka may carry epochs that were assigned after the backup. A restored database would
# assign these epochs again, and the new producer's sequence numbers would repeat the old ones: its
# records would be refused as duplicates. So a restore skips far more epochs than can be in use.
SKIPPED_EPOCHS = 1_000_000
# Calls that were made after the backup are missing in its ledger. The time of the restore tells the
# ledger which windows they may belong to. A backup of an older schema lacks the table.
CALLS_UNKNOWN = (
    "CREATE TABLE IF NOT EXISTS quota_restores (restored_at TIMESTAMPTZ PRIMARY KEY)",
    "INSERT INTO quota_restores VALUES (clock_timestamp())",
)
NEW_ERA = "UPDATE leases SET epoch = epoch + %s, holder = NULL, expires_at = 'epoch'"


async def backup(dsn: str, file: Path) -> int:
    """
    Write the database to a file, and return its size in bytes.

    It is written under another name, read once to verify it, and renamed: a file of the final name
    is complete. Rows that are committed after the start of the backup are not in it.

    Raises:
        PipelineError: If pg_dump fails; the message is from pg_dump.
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
    Fill an empty database from a backup in one transaction; return how many tables it has.

    Every quota window that is open now counts as used up.

    Raises:
        ConfigurationError: If the database is not empty, or the file does not exist.
        PipelineError: If pg_restore fails; the message is from pg_restore.
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
        for statement in CALLS_UNKNOWN:
            await connection.execute(statement)
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
        _, errors = await process.communicate()
    except asyncio.CancelledError:
        process.terminate()
        await process.wait()
        raise
    if process.returncode:
        lines = errors.decode(errors="replace").strip().splitlines()
        raise PipelineError(f"{program}: {lines[0] if lines else process.returncode}")
