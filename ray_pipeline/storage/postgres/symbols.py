"""Read the symbols of a feed from its table, and assign them to the feed's connections."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager

import psycopg
from psycopg import sql

from ray_pipeline.errors import (
    DatabaseUnavailable,
    Disposition,
    FeedRefused,
    FeedUnavailable,
)
from ray_pipeline.feeds.feed import Feed
from ray_pipeline.feeds.symbol_source import Fill, RestListing, Row, SymbolSource
from ray_pipeline.retry import doubled_s
from ray_pipeline.storage.postgres.connection import Connection, connect, session
from ray_pipeline.storage.postgres.database_errors import disposition, first_line
from ray_pipeline.storage.venue_rest import VenueRest
from ray_pipeline.stream.sharding import Assignment, assign

log = logging.getLogger(__name__)

Symbols = Mapping[str, str | None]

RETRY_S = 1.0
LONGEST_RETRY_S = 60.0
LOCK_KEY = 0x7261795F73796D62  # "ray_symb": an advisory lock that nothing else in the database uses
ASSIGNED = "SELECT symbol, shard FROM shard_assignments WHERE feed = %s"


async def read_symbols(connection: Connection, source: SymbolSource) -> dict[str, str | None]:
    """Return the symbols in order, in the venue's spelling, each with its category."""
    cursor = await connection.execute(source.query)
    symbols: dict[str, str | None] = {}
    for row in await cursor.fetchall():
        symbols.setdefault(source.spelling(row[0]), row[1] if len(row) > 1 else None)
    return dict(list(symbols.items())[: source.limit])


async def load_symbols(
    connection: Connection, source: SymbolSource, venue_rest: VenueRest
) -> dict[str, str | None]:
    """
    Return the symbols; first fill their table if it is empty, or if the source says so.

    Raises:
        FeedUnavailable: If the table is empty and the venue cannot be reached.
        FeedRefused: If the table is empty and the venue refuses the request, or its list is
            invalid.
    """
    symbols = await read_symbols(connection, source)
    if source.if_empty is None or (symbols and not source.refresh):
        return symbols
    try:
        await _fill(connection, source.if_empty, venue_rest, log_level=_level(empty=not symbols))
    except (FeedUnavailable, FeedRefused) as error:
        if not symbols:
            raise
        # The symbols of an older list are better than none.
        log.warning("%s is not refreshed: %s", source.if_empty.table, error)
        return symbols
    return await read_symbols(connection, source)


def _level(*, empty: bool) -> int:
    return logging.INFO if empty else logging.DEBUG


async def fill_for_simulation(dsn: str, source: SymbolSource) -> None:
    """
    Fill the table of symbols for simulated data if it holds no symbol.

    Raises:
        DatabaseUnavailable: If Postgres is away.
    """
    if source.simulated is None:
        return
    async with _transaction(dsn) as connection:
        if not await read_symbols(connection, source):
            await _fill(connection, source.simulated, None, log_level=logging.DEBUG)


async def _fill(
    connection: Connection, fill: Fill, venue_rest: VenueRest | None, *, log_level: int
) -> None:
    """
    Insert the rows; raise FeedRefused, and insert none, if Postgres refuses one.

    A list with such a row, a name that is too long for an index for example, must not end a feed
    that has symbols.
    """
    rows = await _rows(fill, venue_rest)
    try:
        # A savepoint: the caller's transaction continues after a refused row.
        async with connection.transaction(), connection.cursor() as cursor:
            await cursor.executemany(fill.insert, rows)
    except psycopg.Error as error:
        if disposition(error) is Disposition.RETRY:
            raise
        text = f"{fill.table} cannot hold the list of {fill.source}: {first_line(error)}"
        raise FeedRefused(text) from error
    log.log(log_level, "%s was filled with %d rows from %s", fill.table, len(rows), fill.source)


async def _rows(fill: Fill, venue_rest: VenueRest | None) -> Sequence[Row]:
    if not isinstance(fill.rows, RestListing):
        return list(fill.rows())
    assert venue_rest is not None, "only a venue with a REST API has a listing"
    return await venue_rest.listing(fill.rows)


@asynccontextmanager
async def _transaction(dsn: str) -> AsyncIterator[Connection]:
    async with session(dsn, name="ray-pipeline symbols") as connection, connection.transaction():
        yield connection


async def load_assignment(
    dsn: str, feed: Feed, venue_rest: VenueRest, *, shards: int, capacity: int
) -> Assignment:
    """
    Return which shard carries which symbol, and store the assignment.

    All shards of a cluster call this at the same time. The lock serialises the calls, so that every
    shard reads the same assignment.

    Raises:
        DatabaseUnavailable: If Postgres is away. Nothing was changed.
        FeedUnavailable, FeedRefused: As `load_symbols`.
    """
    async with _transaction(dsn) as connection:
        await connection.execute("SELECT pg_advisory_xact_lock(%s)", (LOCK_KEY,))
        symbols = await load_symbols(connection, feed.symbols, venue_rest)
        cursor = await connection.execute(ASSIGNED, (feed.name,))
        existing: dict[str, int] = dict(await cursor.fetchall())
        assignment = assign(existing, list(symbols), shards=shards, capacity=capacity)
        await _store(connection, feed.name, existing, assignment.shards)
    return assignment


async def _store(
    connection: Connection, feed: str, existing: Mapping[str, int], shards: Mapping[str, int]
) -> None:
    removed = [symbol for symbol in existing if symbol not in shards]
    changed = [
        (feed, symbol, shard) for symbol, shard in shards.items() if existing.get(symbol) != shard
    ]
    if removed:
        await connection.execute(
            "DELETE FROM shard_assignments WHERE feed = %s AND symbol = ANY(%s)", (feed, removed)
        )
    async with connection.cursor() as cursor:
        await cursor.executemany(
            "INSERT INTO shard_assignments (feed, symbol, shard) VALUES (%s, %s, %s) "
            "ON CONFLICT (feed, symbol) DO UPDATE SET shard = excluded.shard",
            changed,
        )


class PolledSymbols:
    """
    Symbols that are read at intervals.

    Attributes:
        cause: Why they could not be read at the newest attempt; empty if they were.
    """

    def __init__(self, load: Callable[[], Awaitable[Symbols]], *, poll_s: float) -> None:
        self._load = load
        self._poll_s = poll_s
        self.cause = ""

    async def updates(self) -> AsyncIterator[Symbols]:
        """Yield the symbols, and again whenever they change. An outage is waited out."""
        last: Symbols | None = None
        failures = 0
        while True:
            pause_s = self._poll_s
            try:
                symbols = await self._load()
            except (DatabaseUnavailable, psycopg.Error, FeedUnavailable, FeedRefused) as error:
                log.warning("the symbols cannot be read: %s", error)
                self.cause = f"the symbols cannot be read: {error}"
                pause_s = _retry_s(error, failures)
                failures += 1
            else:
                self.cause, failures = "", 0
                if _differ(symbols, last):
                    last = symbols
                    yield symbols
            await asyncio.sleep(pause_s)


def _retry_s(error: Exception, failures: int) -> float:
    """Return the seconds to the next attempt: a venue's REST API is called ever more slowly."""
    if isinstance(error, DatabaseUnavailable):
        return RETRY_S
    requested_s = error.retry_after_s if isinstance(error, FeedRefused) else 0.0
    return max(requested_s, min(doubled_s(RETRY_S, failures), LONGEST_RETRY_S))


class NotifiedSymbols:
    """
    Symbols that are read after a notification, and at intervals in case one was missed.

    Attributes:
        cause: Why they could not be read at the newest attempt; empty if they were.
    """

    def __init__(self, dsn: str, source: SymbolSource) -> None:
        self._dsn = dsn
        self._source = source
        self._channel = source.channel or ""
        self.cause = ""

    async def updates(self) -> AsyncIterator[Symbols]:
        """Yield the symbols, and again whenever they change. An outage is waited out."""
        last: Symbols | None = None
        while True:
            try:
                async for symbols in self._listen():
                    self.cause = ""
                    if _differ(symbols, last):
                        last = symbols
                        yield symbols
            except (DatabaseUnavailable, psycopg.Error) as error:
                # The feed continues with the symbols that it has, also while a table or right is
                # missing: a person can add it without a restart.
                log.warning("listening for %s is interrupted: %s", self._channel, error)
                self.cause = f"the symbols cannot be read: {error}"
            await asyncio.sleep(RETRY_S)

    async def _listen(self) -> AsyncIterator[Symbols]:
        """Yield the symbols at once and after each notification or pause, until an outage."""
        connection = await connect(self._dsn, name="ray-pipeline symbol notifications")
        try:
            # LISTEN comes before the first query: a row that the query does not see is announced.
            await connection.execute(sql.SQL("LISTEN {}").format(sql.Identifier(self._channel)))
            while True:
                yield await read_symbols(connection, self._source)
                async for _ in connection.notifies(timeout=self._source.poll_s, stop_after=1):
                    pass
        finally:
            await connection.close()


def _differ(symbols: Symbols, last: Symbols | None) -> bool:
    """Return whether the symbols, their order or their categories changed."""
    return last is None or list(symbols.items()) != list(last.items())


def symbols_of_shard(
    dsn: str, feed: Feed, venue_rest: VenueRest, *, shard: int, shards: int, capacity: int
) -> PolledSymbols | NotifiedSymbols:
    """Return the source of one connection's symbols; `shards` and `capacity` apply to sharding."""

    async def load_assigned() -> Symbols:
        assignment = await load_assignment(dsn, feed, venue_rest, shards=shards, capacity=capacity)
        return dict.fromkeys(assignment.of(shard))

    async def load_all() -> Symbols:
        async with _transaction(dsn) as connection:
            return await load_symbols(connection, feed.symbols, venue_rest)

    if feed.sharding is not None:
        return PolledSymbols(load_assigned, poll_s=feed.symbols.poll_s)
    if feed.symbols.channel is not None:
        return NotifiedSymbols(dsn, feed.symbols)
    return PolledSymbols(load_all, poll_s=feed.symbols.poll_s)
