"""Connections to Postgres."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import psycopg
from psycopg import AsyncConnection
from psycopg.rows import TupleRow

from ray_pipeline.errors import ConfigurationError, DatabaseUnavailable, Disposition
from ray_pipeline.storage.postgres.any_time import read_any_time
from ray_pipeline.storage.postgres.database_errors import disposition, first_line, unavailable
from ray_pipeline.storage.postgres.storable_text import write_any_text

Connection = AsyncConnection[TupleRow]

CONNECT_TIMEOUT_S = 5


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
        DatabaseUnavailable: For every error but that of a row's content, which passes unchanged.
    """
    try:
        yield
    except psycopg.Error as error:
        if disposition(error) is Disposition.PARK:
            raise
        raise unavailable(error) from error
