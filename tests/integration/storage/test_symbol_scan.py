"""The scan of distinct symbols on a real Postgres."""

import pytest
from psycopg import sql

from ray_pipeline.storage.postgres.connection import session
from ray_pipeline.storage.postgres.symbol_scan import with_symbols

QUERY = with_symbols(
    "SELECT symbol FROM symbols", table=sql.Identifier("seen"), symbol=sql.Identifier("symbol")
)


@pytest.mark.parametrize(
    "symbols", [[], ["A"], ["B", "A", "B", "C", "A"], ["a", "B", "ß", "", "KRW-BTC"]]
)
async def test_each_symbol_appears_once_and_in_order(postgres_dsn, symbols):
    """An empty table has no symbols; the empty text is a symbol like any other."""
    async with session(postgres_dsn, name="test") as connection:
        await connection.execute('CREATE TABLE seen (symbol text COLLATE "C", n serial)')
        await connection.execute("CREATE INDEX ON seen (symbol, n)")
        await connection.cursor().executemany(
            "INSERT INTO seen (symbol) VALUES (%s)", [(symbol,) for symbol in symbols]
        )

        cursor = await connection.execute(QUERY)
        scanned = [symbol async for (symbol,) in cursor]

    assert scanned == sorted(set(symbols))


async def test_the_scan_reads_one_index_entry_per_symbol(postgres_dsn):
    """Its cost depends on the number of symbols, not on the rows of each symbol."""
    async with session(postgres_dsn, name="test") as connection:
        await connection.execute('CREATE TABLE seen (symbol text COLLATE "C", n serial)')
        await connection.execute(
            "INSERT INTO seen (symbol) SELECT 'S' || n % 3 FROM generate_series(1, 20000) AS n"
        )
        await connection.execute("CREATE INDEX ON seen (symbol, n)")
        await connection.execute("VACUUM ANALYZE seen")

        cursor = await connection.execute(sql.SQL("EXPLAIN (ANALYZE, FORMAT JSON) ") + QUERY)
        (plan,) = await cursor.fetchone()

    assert sum(rows_read(plan[0]["Plan"])) < 100


def rows_read(node: dict) -> list[int]:
    """Return how many rows each scan of the table returned, over all its loops."""
    own = node["Actual Rows"] * node["Actual Loops"] if node.get("Relation Name") == "seen" else 0
    return [own, *(rows for child in node.get("Plans", ()) for rows in rows_read(child))]
