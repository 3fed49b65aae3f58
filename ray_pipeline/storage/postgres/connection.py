"""Connections to Postgres, and what its errors mean."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import LiteralString

import psycopg
from psycopg import AsyncConnection
from psycopg.rows import TupleRow

from ray_pipeline.errors import ConfigurationError, DatabaseUnavailable, Disposition
from ray_pipeline.storage.postgres.any_time import read_any_time

Connection = AsyncConnection[TupleRow]

CONNECT_TIMEOUT_S = 5
# 08 connection, 40 rollback (deadlock, serialisation), 53 resources, 55 object in use, 57 operator
# intervention, 58 system: the database's trouble, not the data's.
WAIT_CLASSES = frozenset({"08", "40", "53", "55", "57", "58"})
# 22 data exception, 23 constraint: the data's trouble.
PARK_CLASSES = frozenset({"22", "23"})
UNIQUE_VIOLATION = "23505"


def disposition(error: psycopg.Error) -> Disposition:
    """
    Say what to do about an error: RETRY an outage, PARK bad data, GIVE_UP on anything else.

    An error without a code comes from the connection itself, which is an outage.
    """
    code = error.sqlstate
    if code is None:
        return Disposition.RETRY if isinstance(error, psycopg.OperationalError) else _no_code(error)
    if code[:2] in WAIT_CLASSES:
        return Disposition.RETRY
    if code[:2] in PARK_CLASSES:
        return Disposition.PARK
    return Disposition.GIVE_UP


def _no_code(error: psycopg.Error) -> Disposition:
    # psycopg refuses a NUL in text, and a number out of range, before the server sees it.
    return Disposition.PARK if isinstance(error, psycopg.DataError) else Disposition.GIVE_UP


async def connect(dsn: str, *, name: str, autocommit: bool = True) -> Connection:
    """
    Open a connection whose session is in UTC and that shows as `name` in pg_stat_activity.

    It reads every time that Postgres can hold; see `postgres_times.read_any_time`.

    Raises:
        ConfigurationError: If `dsn` is no connection string.
        DatabaseUnavailable: If the server cannot be reached or refuses; the text has no password.
    """
    try:
        connection = await AsyncConnection.connect(
            dsn,
            autocommit=autocommit,
            connect_timeout=CONNECT_TIMEOUT_S,
            application_name=name[:63],
            options="-c timezone=UTC -c client_encoding=UTF8",
            # Notice a dead server in seconds, not in hours.
            keepalives_idle=5,
            keepalives_interval=2,
            keepalives_count=3,
            tcp_user_timeout=10_000,
        )
    except psycopg.ProgrammingError:
        # The library quotes what it cannot read, which may be the password.
        raise ConfigurationError(
            "PIPELINE_POSTGRES__DSN is no connection string",
            fix="write postgresql://user:password@host:5432/db; in the password, %40 stands for @",
        ) from None
    except (psycopg.OperationalError, OSError) as error:
        raise DatabaseUnavailable(
            f"Postgres cannot be reached: {first_line(error)}",
            fix="check PIPELINE_POSTGRES__DSN and that the server runs; see `ray-pipeline doctor`",
        ) from None
    read_any_time(connection)
    return connection


@asynccontextmanager
async def session(dsn: str, *, name: str) -> AsyncIterator[Connection]:
    """Open an autocommit connection for the length of a block; see `connect`."""
    connection = await connect(dsn, name=name)
    try:
        with outages():
            yield connection
    finally:
        await connection.close()


@contextmanager
def outages() -> Iterator[None]:
    """
    Tell an outage of Postgres from other errors, for the length of a block.

    Raises:
        DatabaseUnavailable: Instead of the error that the outage was.
    """
    try:
        yield
    except psycopg.Error as error:
        if disposition(error) is Disposition.RETRY:
            raise DatabaseUnavailable(f"Postgres went away: {first_line(error)}") from error
        raise


async def scalar(connection: Connection, query: LiteralString, *values: object) -> object:
    """Return the first column of the first row, None where there is none."""
    cursor = await connection.execute(query, values)
    row = await cursor.fetchone()
    return row[0] if row else None


def first_line(error: Exception) -> str:
    """Return the first line of an error's text; the name of its type if it has no text."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
