"""Which symbols to collect: S&P 500 members by shard, the day's movers, Bithumb's markets."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import LiteralString

import psycopg

from ray_pipeline.errors import DatabaseUnavailable, Disposition, FeedRefused, FeedUnavailable
from ray_pipeline.storage.bithumb_rest import BithumbRest
from ray_pipeline.storage.postgres.connection import Connection, connect, disposition, session
from ray_pipeline.stream.sharding import Assignment, assign

log = logging.getLogger(__name__)

Symbols = Mapping[str, str | None]

MEMBERS_POLL_S = 300.0
MARKETS_POLL_S = 3_600.0
MOVERS_POLL_S = 5.0
RETRY_S = 1.0
MOVERS_LIMIT = 50
CHANNEL = "top_gainers_updated"
INDEX = "S&P 500"
LOCK_KEY = 0x7261795F73796D62  # "ray_symb": one number that nothing else in the database locks
# The order in which the categories are shown; a symbol in two keeps the first.
CATEGORIES = ("top_gainers", "top_losers", "most_actively_traded")

MEMBERS: LiteralString = "SELECT symbol FROM sp500_companies WHERE is_member ORDER BY symbol"
ASSIGNED: LiteralString = "SELECT symbol, shard FROM shard_assignments WHERE feed = %s"
ADD_MEMBER: LiteralString = """
INSERT INTO sp500_companies (symbol, company_name, gics_sector, headquarters, founded, website)
VALUES (%s, %s, %s, %s, %s, %s) ON CONFLICT (symbol) DO NOTHING
"""
MOVERS: LiteralString = """
SELECT symbol, category FROM top_gainers
WHERE batch_id = (SELECT max(batch_id) FROM top_gainers) AND category = ANY(%s)
ORDER BY array_position(%s::text[], category::text), rank_position NULLS LAST, symbol
"""
MARKETS: LiteralString = "SELECT market_code FROM market_code_bithumb ORDER BY market_code"
ADD_MARKET: LiteralString = """
INSERT INTO market_code_bithumb (market_code, korean_name, english_name, market_warning)
VALUES (%s, %s, %s, %s) ON CONFLICT (market_code) DO NOTHING
"""
NEWEST: LiteralString = "SELECT market, timestamp_field FROM bithumb_ticker_latest"


def finnhub_symbol(symbol: str) -> str:
    """Return Finnhub's spelling: a share class after a dot, where others write BRK-B or BRK/B."""
    return symbol.strip().upper().replace("-", ".").replace("/", ".")


async def load_assignment(dsn: str, feed: str, *, shards: int, capacity: int) -> Assignment:
    """
    Return which shard carries which S&P 500 member, and keep it for the next time.

    All shards of a cluster ask at once; one after the other finds the same answer.

    Raises:
        DatabaseUnavailable: If Postgres is away. Nothing was changed.
    """
    async with session(dsn, name="ray-pipeline symbols") as connection, connection.transaction():
        await connection.execute("SELECT pg_advisory_xact_lock(%s)", (LOCK_KEY,))
        members = await _members(connection)
        cursor = await connection.execute(ASSIGNED, (feed,))
        existing: dict[str, int] = dict(await cursor.fetchall())
        assignment = assign(existing, members, shards=shards, capacity=capacity)
        await _keep(connection, feed, existing, assignment.shards)
    return assignment


async def _members(connection: Connection) -> list[str]:
    """Return the members in Finnhub's spelling, after filling the table where it is empty."""
    cursor = await connection.execute(MEMBERS)
    rows = await cursor.fetchall()
    if not rows:
        await _fill_members(connection)
        cursor = await connection.execute(MEMBERS)
        rows = await cursor.fetchall()
    return list(dict.fromkeys(finnhub_symbol(row[0]) for row in rows))


async def _fill_members(connection: Connection) -> None:
    from pytickersymbols import PyTickerSymbols  # noqa: PLC0415 - 10 MB, for an empty table only

    stocks = list(PyTickerSymbols().get_stocks_by_index(INDEX))
    rows = [
        (
            stock["symbol"],
            stock["name"],
            next(iter(stock.get("industries", ())), None),
            stock.get("country"),
            stock.get("metadata", {}).get("founded"),
            stock.get("metadata", {}).get("website"),
        )
        for stock in stocks
    ]
    async with connection.cursor() as cursor:
        await cursor.executemany(ADD_MEMBER, rows)
    log.info("sp500_companies was empty: %d members from pytickersymbols", len(rows))


async def _keep(
    connection: Connection, feed: str, existing: Mapping[str, int], shards: Mapping[str, int]
) -> None:
    left = [symbol for symbol in existing if symbol not in shards]
    changed = [
        (feed, symbol, shard) for symbol, shard in shards.items() if existing.get(symbol) != shard
    ]
    if left:
        await connection.execute(
            "DELETE FROM shard_assignments WHERE feed = %s AND symbol = ANY(%s)", (feed, left)
        )
    async with connection.cursor() as cursor:
        await cursor.executemany(
            "INSERT INTO shard_assignments (feed, symbol, shard) VALUES (%s, %s, %s) "
            "ON CONFLICT (feed, symbol) DO UPDATE SET shard = excluded.shard",
            changed,
        )


async def movers(connection: Connection) -> dict[str, str | None]:
    """Return the newest batch's symbols, at most 50, gainers first by rank, with their category."""
    categories = list(CATEGORIES)
    cursor = await connection.execute(MOVERS, (categories, categories))
    found: dict[str, str | None] = {}
    for symbol, category in await cursor.fetchall():
        found.setdefault(finnhub_symbol(symbol), category)
    return dict(list(found.items())[:MOVERS_LIMIT])


async def newest_tickers(dsn: str) -> dict[str, int]:
    """
    Return the event time of the newest stored ticker of each market, ms since the epoch.

    Raises:
        DatabaseUnavailable: If Postgres is away.
    """
    async with session(dsn, name="ray-pipeline symbols") as connection:
        cursor = await connection.execute(NEWEST)
        return dict(await cursor.fetchall())


async def load_markets(dsn: str, rest: BithumbRest) -> dict[str, str | None]:
    """
    Return Bithumb's markets, after filling their table where it is empty.

    Raises:
        DatabaseUnavailable: If Postgres is away.
        FeedUnavailable: If the table is empty and Bithumb cannot be reached.
        FeedRefused: Likewise, if it refuses.
    """
    async with session(dsn, name="ray-pipeline symbols") as connection:
        cursor = await connection.execute(MARKETS)
        codes = [row[0] for row in await cursor.fetchall()]
        if not codes:
            codes = await _fill_markets(connection, rest)
    return dict.fromkeys(codes)


async def _fill_markets(connection: Connection, rest: BithumbRest) -> list[str]:
    markets = await rest.markets()
    rows = [(m.market, m.korean_name, m.english_name, m.market_warning) for m in markets]
    async with connection.cursor() as cursor:
        await cursor.executemany(ADD_MARKET, rows)
    log.info("market_code_bithumb was empty: %d markets from Bithumb", len(rows))
    return sorted(market.market for market in markets)


class Polled:
    """Symbols that are asked for now and then."""

    def __init__(self, load: Callable[[], Awaitable[Symbols]], *, poll_s: float) -> None:
        self._load = load
        self._poll_s = poll_s

    async def updates(self) -> AsyncIterator[Symbols]:
        """Yield the symbols, and again whenever they change. An outage is waited out."""
        last: Symbols | None = None
        while True:
            pause_s = self._poll_s
            try:
                symbols = await self._load()
            except (DatabaseUnavailable, FeedUnavailable, FeedRefused) as error:
                log.warning("the symbols cannot be read: %s", error)
                pause_s = RETRY_S
            else:
                if last is None or list(symbols.items()) != list(last.items()):
                    last = symbols
                    yield symbols
            await asyncio.sleep(pause_s)


def shard_members(dsn: str, *, shard: int, shards: int, capacity: int) -> Polled:
    """Return the source of one S&P 500 shard's symbols."""

    async def load() -> Symbols:
        assignment = await load_assignment(dsn, "sp500", shards=shards, capacity=capacity)
        return dict.fromkeys(assignment.of(shard))

    return Polled(load, poll_s=MEMBERS_POLL_S)


def bithumb_markets(dsn: str, rest: BithumbRest) -> Polled:
    """Return the source of Bithumb's markets."""

    async def load() -> Symbols:
        return await load_markets(dsn, rest)

    return Polled(load, poll_s=MARKETS_POLL_S)


class TopMovers:
    """The day's movers: read when notified, and every few seconds in case that was missed."""

    def __init__(self, dsn: str, *, poll_s: float = MOVERS_POLL_S) -> None:
        self._dsn = dsn
        self._poll_s = poll_s

    async def updates(self) -> AsyncIterator[Symbols]:
        """Yield the symbols, and again whenever they change. An outage is waited out."""
        last: Symbols | None = None
        while True:
            try:
                async for symbols in self._listen():
                    if last is None or list(symbols.items()) != list(last.items()):
                        last = symbols
                        yield symbols
            except DatabaseUnavailable as error:
                log.warning("listening for %s is interrupted: %s", CHANNEL, error)
            except psycopg.Error as error:
                if disposition(error) is not Disposition.RETRY:
                    raise
                log.warning("listening for %s is interrupted: %s", CHANNEL, error)
            await asyncio.sleep(RETRY_S)

    async def _listen(self) -> AsyncIterator[Symbols]:
        """Yield the symbols at once and after each notification or pause, until the line breaks."""
        connection = await connect(self._dsn, name="ray-pipeline top gainers")
        try:
            # Listening first: what is written after the reading is announced.
            await connection.execute("LISTEN top_gainers_updated")
            while True:
                yield await movers(connection)
                async for _ in connection.notifies(timeout=self._poll_s, stop_after=1):
                    pass
        finally:
            await connection.close()


SIMULATED_MOVERS = """
GME AMC PLTR SOFI RIVN LCID NIO MARA RIOT COIN HOOD UPST AFRM DKNG ROKU SNAP PINS U PATH AI IONQ
RKLB JOBY ACHR CVNA W CHWY BYND PTON SPCE
"""
MOVERS_A_CATEGORY = 10


async def seed_top_gainers(dsn: str) -> None:
    """
    Put one batch into `top_gainers` where there is none, for simulated feeds.

    Raises:
        DatabaseUnavailable: If Postgres is away.
    """
    symbols = SIMULATED_MOVERS.split()
    async with session(dsn, name="ray-pipeline symbols") as connection, connection.transaction():
        cursor = await connection.execute("SELECT 1 FROM top_gainers LIMIT 1")
        if await cursor.fetchone() is not None:
            return
        for index, symbol in enumerate(symbols):
            category = ("top_gainers", "top_losers", "most_actively_traded")[
                index // MOVERS_A_CATEGORY
            ]
            await connection.execute(
                "INSERT INTO top_gainers (batch_id, last_updated, symbol, category, rank_position) "
                "VALUES (1, now() AT TIME ZONE 'UTC', %s, %s, %s)",
                (symbol, category, index % MOVERS_A_CATEGORY + 1),
            )
