"""A database connection that is opened on demand and reopened after an outage."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import psycopg
from psycopg import sql

from ray_pipeline.storage.postgres.connection import Connection, connect
from ray_pipeline.storage.postgres.database_errors import unavailable

QUERY_TIMEOUT_S = 5.0


class DatabaseSession:
    """One autocommit connection, used by one task at a time."""

    def __init__(
        self,
        dsn: str,
        *,
        name: str,
        timeout_s: float | None = QUERY_TIMEOUT_S,
        setup: Sequence[sql.SQL | sql.Composed] = (),
    ) -> None:
        """
        Prepare a session; nothing is opened yet.

        Args:
            dsn: Connection string.
            name: Shown in pg_stat_activity.
            timeout_s: Limit of one `connection` block; None if a statement may take any time.
            setup: Statements that every new connection runs first.
        """
        self._dsn = dsn
        self._name = name
        self._timeout_s = timeout_s
        self._setup = setup
        self._connection: Connection | None = None
        self._turn = asyncio.Lock()

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """
        Use the connection for the length of a block.

        Raises:
            DatabaseUnavailable: If Postgres cannot be reached, refused a statement of the block,
                or took longer than the limit. The next block opens a new connection.
        """
        async with self._turn:
            try:
                async with asyncio.timeout(self._timeout_s):
                    yield await self._open()
            except (psycopg.Error, TimeoutError) as error:
                await self.close()
                raise unavailable(error) from error
            except asyncio.CancelledError:
                # The statement was interrupted: its answer could be taken for that of the next.
                await self.close()
                raise

    async def close(self) -> None:
        """Close the connection. The next use opens a new one."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()

    async def _open(self) -> Connection:
        if self._connection is None or self._connection.closed:
            connection = await connect(self._dsn, name=self._name)
            try:
                for statement in self._setup:
                    await connection.execute(statement)
            except BaseException:
                await connection.close()
                raise
            self._connection = connection
        return self._connection
