"""Migrate the schema: numbered SQL files that are applied once, and monthly partitions."""

import hashlib
import itertools
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import psycopg

from ray_pipeline.errors import Disposition, MigrationError
from ray_pipeline.feeds.feed_registry import FEEDS
from ray_pipeline.storage.postgres.connection import Connection, session
from ray_pipeline.storage.postgres.database_errors import disposition

FILE_NAME = re.compile(r"(?P<version>\d{4})_(?P<name>\w+)\.sql")
PARTITIONED = (*(feed.table for feed in FEEDS), "bars")
LOCK_KEY = 0x7261795F70697065  # "ray_pipe": the advisory lock of migrations

TABLE = """
    CREATE TABLE IF NOT EXISTS schema_migrations (
        version    INTEGER PRIMARY KEY,
        name       TEXT NOT NULL,
        checksum   TEXT NOT NULL,
        applied_at TIMESTAMPTZ NOT NULL DEFAULT now()
    )
"""


@dataclass(frozen=True, slots=True)
class Migration:
    """One file of the schema."""

    version: int
    name: str
    sql: bytes

    @property
    def checksum(self) -> str:
        """The SHA-256 of the content. A checkout may change line endings, so they do not count."""
        return hashlib.sha256(self.sql.replace(b"\r\n", b"\n")).hexdigest()


@dataclass(frozen=True, slots=True)
class Applied:
    """A migration that the database has recorded."""

    name: str
    checksum: str


def sql_dir() -> Path:
    """Return the folder of the SQL files: in the installed package, or next to it in a checkout."""
    package = Path(__file__).resolve().parent.parent
    installed = package / "sql"
    return installed if installed.is_dir() else package.parent / "sql"


def read_migrations(directory: Path) -> list[Migration]:
    """
    Return the migrations in `directory`, by version.

    Raises:
        MigrationError: If the directory has no migrations, or two share a number.
    """
    migrations = [
        Migration(int(match["version"]), path.stem, path.read_bytes())
        for path in sorted(directory.glob("*.sql"))
        if (match := FILE_NAME.fullmatch(path.name))
    ]
    if not migrations:
        raise MigrationError(f"no migrations in {directory}", fix="reinstall ray-pipeline")
    for earlier, later in itertools.pairwise(migrations):
        if earlier.version == later.version:
            raise MigrationError(
                f"{earlier.name} and {later.name} share a number", fix="renumber the newer one"
            )
    return migrations


def pending(migrations: Sequence[Migration], applied: Mapping[int, Applied]) -> Iterator[Migration]:
    """
    Yield the migrations that the database lacks, in order.

    Raises:
        MigrationError: If the database is newer than the code, or an applied file was edited.
    """
    for version in sorted(applied.keys() - {migration.version for migration in migrations}):
        raise MigrationError(
            f"the database has migration {applied[version].name}, which this release does not know",
            fix="run a release at least as new as the one that migrated it",
        )
    for migration in migrations:
        if migration.version not in applied:
            yield migration
        elif applied[migration.version].checksum != migration.checksum:
            raise MigrationError(
                f"migration {migration.name} was edited after it had been applied",
                fix="restore the file and put the change into a new migration",
            )


async def migrate(
    dsn: str,
    *,
    on_progress: Callable[[str], None] = lambda _: None,
    directory: Path | None = None,
) -> list[str]:
    """
    Bring the schema up to date, create coming partitions, and return the applied files in order.

    Each file is one transaction under an advisory lock. Of two concurrent calls the second finds
    nothing to do, and a crash leaves no file half applied.

    Raises:
        MigrationError: If a file fails, was edited since, or the database is newer than the code.
        DatabaseUnavailable: If Postgres cannot be reached.
    """
    migrations = read_migrations(directory or sql_dir() / "migrations")
    names: list[str] = []
    async with session(dsn, name="migrate") as connection:
        while name := await _apply_next(connection, migrations):
            on_progress(name)
            names.append(name)
        await ensure_partitions(connection, now=await utc_now(connection))
    return names


async def unapplied(connection: Connection, *, directory: Path | None = None) -> list[str]:
    """
    Return the names of the migrations that the database lacks; changes nothing.

    Raises:
        MigrationError: If the database is newer than the code, or an applied file was edited.
    """
    migrations = read_migrations(directory or sql_dir() / "migrations")
    return [migration.name for migration in pending(migrations, await _applied(connection))]


async def ensure_partitions(
    connection: Connection, *, now: datetime, months_ahead: int = 2
) -> None:
    """Create the missing partitions of this month (UTC) and of the coming months."""
    for month in months(now, ahead=months_ahead):
        for table in PARTITIONED:
            await connection.execute("SELECT make_month_partition(%s, %s)", (table, month))


def months(now: datetime, *, ahead: int) -> list[datetime]:
    """Return the first moments of the month that holds `now` and of those after it, naive."""
    first = now.year * 12 + now.month - 1
    return [
        datetime(number // 12, number % 12 + 1, 1)  # noqa: DTZ001 - the columns are naive UTC
        for number in range(first, first + ahead + 1)
    ]


async def utc_now(connection: Connection) -> datetime:
    """Return the database's time in UTC, naive, as the columns of the history tables."""
    cursor = await connection.execute("SELECT now() AT TIME ZONE 'UTC'")
    (now,) = await cursor.fetchone() or (None,)
    assert isinstance(now, datetime)
    return now


async def _apply_next(connection: Connection, migrations: Sequence[Migration]) -> str:
    """Apply the first pending migration and return its name, or an empty text."""
    async with connection.transaction():
        # The lock is bound to the transaction, so it also works through a connection pooler.
        await connection.execute("SELECT pg_advisory_xact_lock(%s)", (LOCK_KEY,))
        await connection.execute(TABLE)
        migration = next(pending(migrations, await _applied(connection)), None)
        if migration is None:
            return ""
        await _apply(connection, migration)
        return migration.name


async def _apply(connection: Connection, migration: Migration) -> None:
    try:
        await connection.execute(migration.sql)
    except psycopg.Error as error:
        if disposition(error) is Disposition.RETRY:
            raise
        raise MigrationError(
            f"migration {migration.name} failed: {str(error).splitlines()[0]}",
            fix="nothing of it was kept; use an empty database, or remove what is in its way",
        ) from error
    await connection.execute(
        "INSERT INTO schema_migrations (version, name, checksum) VALUES (%s, %s, %s)",
        (migration.version, migration.name, migration.checksum),
    )


async def _applied(connection: Connection) -> dict[int, Applied]:
    cursor = await connection.execute("SELECT to_regclass('schema_migrations') IS NOT NULL")
    if await cursor.fetchone() == (False,):
        return {}
    cursor = await connection.execute("SELECT version, name, checksum FROM schema_migrations")
    return {version: Applied(name, checksum) async for version, name, checksum in cursor}
