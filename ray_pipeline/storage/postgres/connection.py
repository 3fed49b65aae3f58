"""Connections to Postgres, and the classification of its errors."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import psycopg
from psycopg import AsyncConnection
from psycopg.rows import TupleRow

from ray_pipeline.errors import ConfigurationError, DatabaseUnavailable, Disposition
from ray_pipeline.storage.postgres.any_time import read_any_time
from ray_pipeline.storage.postgres.storable_text import write_any_text

Connection = AsyncConnection[TupleRow]

CONNECT_TIMEOUT_S = 5
# SQLSTATE classes of an outage: 08 connection, 40 rollback (deadlock, serialization), 53 resources,
# 55 object in use, 57 operator intervention, 58 system.
WAIT_CLASSES = frozenset({"08", "40", "53", "55", "57", "58"})
# SQLSTATE classes of bad data: 22 data exception, 23 constraint.
PARK_CLASSES = frozenset({"22", "23"})
UNIQUE_VIOLATION = "23505"


def disposition(error: psycopg.Error) -> Disposition:
    """
    Classify an error: RETRY for an outage, PARK for bad data, GIVE_UP for anything else.

    An error without a code comes from the client library: a lost connection is an outage.
    """
    code = error.sqlstate
    if code is None:
        if isinstance(error, psycopg.OperationalError):
            return Disposition.RETRY
        # psycopg rejects a NUL in text, and a number out of range, before it sends the statement.
        return Disposition.PARK if isinstance(error, psycopg.DataError) else Disposition.GIVE_UP
    if code[:2] in WAIT_CLASSES:
        return Disposition.RETRY
    if code[:2] in PARK_CLASSES:
        return Disposition.PARK
    return Disposition.GIVE_UP


async def connect(dsn: str, *, name: str, autocommit: bool = True) -> Connection:
    """
    Open a connection in UTC that appears as `name` in pg_stat_activity.

    It reads every time that Postgres can hold, and writes any text; see `any_time` and
    `storable_text`.

    Raises:
        ConfigurationError: If `dsn` is not a connection string.
        DatabaseUnavailable: If the server cannot be reached or refuses; without the password.
    """
    try:
        connection = await AsyncConnection.connect(
            dsn,
            autocommit=autocommit,
            connect_timeout=CONNECT_TIMEOUT_S,
            application_name=name[:63],
            options="-c timezone=UTC -c client_encoding=UTF8",
            # Detect a dead server in seconds; the defaults of TCP take hours.
            keepalives_idle=5,
            keepalives_interval=2,
            keepalives_count=3,
            tcp_user_timeout=10_000,
        )
    except psycopg.ProgrammingError:
        # The original text quotes what it cannot parse, which may be the password.
        raise ConfigurationError(
            "PIPELINE_POSTGRES__DSN is not a connection string",
            fix="write postgresql://user:password@host:5432/db; in the password, %40 stands for @",
        ) from None
    except (psycopg.OperationalError, OSError) as error:
        raise DatabaseUnavailable(
            f"Postgres cannot be reached: {first_line(error)}",
            fix="check PIPELINE_POSTGRES__DSN and that the server runs; see `ray-pipeline doctor`",
        ) from None
    read_any_time(connection)
    write_any_text(connection)
    return connection


@asynccontextmanager
async def session(dsn: str, *, name: str) -> AsyncIterator[Connection]:
    """Open an autocommit connection for the duration of a block; see `connect`."""
    connection = await connect(dsn, name=name)
    try:
        with outages():
            yield connection
    finally:
        await connection.close()


@contextmanager
def outages() -> Iterator[None]:
    """
    Raise outages of Postgres as DatabaseUnavailable, for the duration of a block.

    Raises:
        DatabaseUnavailable: For an outage; other errors pass unchanged.
    """
    try:
        yield
    except psycopg.Error as error:
        if disposition(error) is Disposition.RETRY:
            raise DatabaseUnavailable(f"Postgres went away: {first_line(error)}") from error
        raise


def first_line(error: Exception) -> str:
    """Return the first line of an error's text; the others may quote data or passwords."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
