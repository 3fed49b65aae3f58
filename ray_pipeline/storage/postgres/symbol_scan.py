"""The distinct symbols of a table, without reading its history."""

from typing import LiteralString

from psycopg import sql

# PostgreSQL has no skip scan for DISTINCT: it would read every index entry. This recursive query
# emulates one. Each step descends the index once, to the first symbol after the one before, so
# the cost is one descent a symbol, however many rows a symbol has. The index must begin with the
# symbol, as the primary keys of the history tables do. The last step finds no further symbol and
# yields NULL, which ends the recursion and is filtered out.
SYMBOLS = """
    WITH RECURSIVE scan AS (
        (SELECT {symbol} AS symbol FROM {table} ORDER BY {symbol} LIMIT 1)
        UNION ALL
        SELECT (SELECT {symbol} FROM {table} WHERE {symbol} > scan.symbol
                ORDER BY {symbol} LIMIT 1)
        FROM scan WHERE scan.symbol IS NOT NULL
    ), symbols AS (SELECT symbol FROM scan WHERE symbol IS NOT NULL)
"""


def with_symbols(query: LiteralString, **names: sql.Composable) -> sql.Composed:
    """
    Return a query that can select from `symbols (symbol)`, the table's symbols in order.

    Args:
        query: What follows the WITH clause.
        names: The query's placeholders; `table` and `symbol` name the table and its column.
    """
    return sql.SQL(SYMBOLS + query).format(**names)
