"""A small pool of read-only connections; a read that lost its connection is repeated once."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Concatenate, ParamSpec, TypeVar

import psycopg

from ray_pipeline.errors import DatabaseUnavailable, Disposition, MigrationError
from ray_pipeline.storage.postgres.connection import Connection, connect
from ray_pipeline.storage.postgres.database_errors import (
    NOT_MIGRATED,
    disposition,
    first_line,
    unavailable,
)

P = ParamSpec("P")
T = TypeVar("T")

QUERY_TIMEOUT_S = 5.0


class Pool:
    """Read-only autocommit connections, opened on demand."""

    def __init__(self, dsn: str, *, size: int, name: str) -> None:
        self._dsn = dsn
        self._name = name
        self._idle: list[Connection] = []
        self._permits = asyncio.Semaphore(size)

    async def read(
        self,
        query: Callable[Concatenate[Connection, P], Awaitable[T]],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """
        Return the result of `query`, a function of a connection and these arguments.

        It is called again if an idle connection was dead.

        Raises:
            DatabaseUnavailable: If Postgres cannot be reached, or did not answer in time.
            MigrationError: If a table or a column does not exist.
        """
        try:
            async with asyncio.timeout(QUERY_TIMEOUT_S), self._permits:
                return await self._read(lambda connection: query(connection, *args, **kwargs))
        except TimeoutError:
            raise DatabaseUnavailable(
                f"Postgres did not answer within {QUERY_TIMEOUT_S:g} s", fix="ask again later"
            ) from None
        except psycopg.Error as error:
            raise _meaning(error) from error

    async def _read(self, query: Callable[[Connection], Awaitable[T]]) -> T:
        if self._idle:
            # A restart of Postgres is noticed only when a connection is used. The query is
            # repeated on a new connection: it only reads, so a second execution is harmless.
            try:
                return await self._use(self._idle.pop(), query)
            except psycopg.Error as error:
                if disposition(error) is not Disposition.RETRY:
                    raise
                await self.close()  # a server that restarted closed every idle connection
        return await self._use(await self._open(), query)

    async def _use(self, connection: Connection, query: Callable[[Connection], Awaitable[T]]) -> T:
        try:
            result = await query(connection)
        except BaseException:
            # Also after a cancellation: a query may still run on this connection.
            await connection.close()
            raise
        self._idle.append(connection)
        return result

    async def _open(self) -> Connection:
        connection = await connect(self._dsn, name=self._name)
        # The server must cancel the query too: a client that stops waiting does not end it.
        timeout_ms = int(QUERY_TIMEOUT_S * 1000)
        await connection.execute(f"SET statement_timeout = {timeout_ms}")
        await connection.execute("SET default_transaction_read_only = on")
        return connection

    async def close(self) -> None:
        """Close the idle connections."""
        idle, self._idle = self._idle, []
        for connection in idle:
            await connection.close()


def _meaning(error: psycopg.Error) -> Exception:
    line = first_line(error)
    if error.sqlstate in NOT_MIGRATED:
        return MigrationError(f"Postgres: {line}", fix="run `ray-pipeline migrate`")
    return error if disposition(error) is Disposition.PARK else unavailable(error)
