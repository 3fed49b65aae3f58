"""
Write rows into a batch table: insert new keys, update changed rows, leave equal rows alone.

The rows are copied into a temporary table first. COPY gives every value the type of the table's own
column and costs microseconds a row, where an INSERT with parameters costs several times as much.
One INSERT ... SELECT ... ON CONFLICT then moves them.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime

from psycopg import sql

from ray_pipeline.jobs.columns import column_defaults, left_out
from ray_pipeline.jobs.table import Table
from ray_pipeline.storage.postgres.connection import Connection
from ray_pipeline.storage.postgres.storable_json import json_text
from ray_pipeline.storage.postgres.storable_text import storable_text

COLUMN_TYPES = """
    SELECT attname, format_type(atttypid, NULL) FROM pg_attribute
    WHERE attrelid = to_regclass(%s) AND attnum > 0 AND NOT attisdropped
"""
MANY_ROWS = 1_000
CLEAR = "excluded.{0}"
KEEP = "coalesce(excluded.{0}, stored.{0})"


async def column_types(connection: Connection, table: Table) -> dict[str, str]:
    """Return the types of a table's columns, by name."""
    cursor = await connection.execute(COLUMN_TYPES, (table.name,))
    return {name: kind async for name, kind in cursor}


async def upsert(
    connection: Connection, table: Table, rows: Sequence[object], *, types: Mapping[str, str]
) -> tuple[int, int]:
    """
    Write rows of distinct keys; return how many are new and how many changed.

    A stored row with the same values is not touched. A value that a row lacks does not replace a
    stored one, unless the table clears the column. The temporary table stays for the next call on
    this connection, empty.

    Raises:
        psycopg.Error: If Postgres refuses a row; nothing of the call is stored then.
    """
    stage = sql.Identifier(f"stage_{table.name}")
    columns = sql.SQL(", ").join(map(sql.Identifier, table.columns))
    await connection.execute(
        sql.SQL(
            "CREATE TEMP TABLE IF NOT EXISTS {} ON COMMIT DELETE ROWS AS SELECT {} FROM {} "
            "WITH NO DATA"
        ).format(stage, columns, sql.Identifier(table.name))
    )
    async with connection.cursor() as cursor:
        async with cursor.copy(sql.SQL("COPY {} ({}) FROM STDIN").format(stage, columns)) as copy:
            for values in _storable_rows(table, rows, types):
                await copy.write_row(values)
        await cursor.execute(_upsert_statement(table, stage, columns, types))
        counted = await cursor.fetchone()
    # The next slice would read deleted rows again, so TRUNCATE a large slice. TRUNCATE makes a new
    # file, which costs more than deleting a few rows.
    empty = "TRUNCATE {}" if len(rows) > MANY_ROWS else "DELETE FROM {}"
    await connection.execute(sql.SQL(empty).format(stage))
    assert counted is not None
    return int(counted[0]), int(counted[1])


def _upsert_statement(
    table: Table, stage: sql.Identifier, columns: sql.Composable, types: Mapping[str, str]
) -> sql.Composed:
    """Return the statement that moves the rows from the temporary table, and counts them."""
    updated = [name for name in table.columns if name not in table.key and name not in table.keep]
    identifier = sql.Identifier(table.name)
    conflict: sql.Composable = sql.SQL("DO NOTHING")
    if table.replace and updated:
        new = [
            sql.SQL(CLEAR if name in table.clears else KEEP).format(sql.Identifier(name))
            for name in updated
        ]
        old = [sql.SQL("stored.{}").format(sql.Identifier(name)) for name in updated]
        sets = [
            sql.SQL("{} = {}").format(sql.Identifier(name), value)
            for name, value in zip(updated, new, strict=True)
        ]
        if table.touched:
            sets.append(sql.SQL("{} = now()").format(sql.Identifier(table.touched)))
        condition: sql.Composable = sql.SQL("TRUE")
        if table.writer:
            condition = sql.SQL("stored.{0} = excluded.{0}").format(sql.Identifier(table.writer))
        # IS DISTINCT FROM treats NULL as a value. A row that would not change is not updated: it
        # would get a new `updated_at`, a dead tuple and a line in the write-ahead log.
        conflict = sql.SQL("DO UPDATE SET {} WHERE ({}) IS DISTINCT FROM ({}) AND {}").format(
            sql.SQL(", ").join(sets), sql.SQL(", ").join(old), sql.SQL(", ").join(new), condition
        )
    values, origin = _staged_values(table, stage, types)
    # In a row that an INSERT ... ON CONFLICT returns, xmax is 0 if the row was inserted.
    return sql.SQL(
        "WITH written AS (INSERT INTO {table} AS stored ({columns}) SELECT {values} FROM {origin} "
        "ON CONFLICT ({key}) {conflict} RETURNING (xmax = 0) AS fresh) "
        "SELECT count(*) FILTER (WHERE fresh), count(*) FILTER (WHERE NOT fresh) FROM written"
    ).format(
        table=identifier,
        columns=columns,
        values=values,
        origin=origin,
        key=sql.SQL(", ").join(map(sql.Identifier, table.key)),
        conflict=conflict,
    )


def _staged_values(
    table: Table, stage: sql.Identifier, types: Mapping[str, str]
) -> tuple[sql.Composable, sql.Composable]:
    """
    Return the expressions of the columns, and the FROM item that they read.

    A value that the provider left out is NULL in the temporary table. A new row gets the column's
    default. A stored row keeps its value: the row must carry it into the INSERT, because ON
    CONFLICT sees the proposed row only, in which the default would look like a value.
    """
    defaults = _stored_defaults(table)
    if not defaults:
        return sql.SQL(", ").join(map(sql.Identifier, table.columns)), stage
    values = [
        sql.SQL("coalesce(staged.{0}, before.{0}, {1}::{2})").format(
            sql.Identifier(name),
            sql.Literal(_storable_column([defaults[name]], types[name])[0]),
            sql.SQL(types[name]),
        )
        if name in defaults
        else sql.SQL("staged.{}").format(sql.Identifier(name))
        for name in table.columns
    ]
    key = [sql.SQL("staged.{0} = before.{0}").format(sql.Identifier(name)) for name in table.key]
    origin = sql.SQL("{} AS staged LEFT JOIN {} AS before ON {}").format(
        stage, sql.Identifier(table.name), sql.SQL(" AND ").join(key)
    )
    return sql.SQL(", ").join(values), origin


def _stored_defaults(table: Table) -> dict[str, object]:
    """Return the defaults of a table's columns; a key needs its value to be found at all."""
    defaults = column_defaults(table.row)
    return {name: value for name, value in defaults.items() if name not in table.key}


def _staged(table: Table, row: object, defaulted: frozenset[str]) -> tuple[object, ...]:
    """Return a row's values, NULL for what the provider left out."""
    absent = left_out(row) & defaulted
    if not absent:
        return table.values(row)
    pairs = zip(table.columns, table.values(row), strict=True)
    return tuple(None if name in absent else value for name, value in pairs)


def _storable_rows(
    table: Table, rows: Sequence[object], types: Mapping[str, str]
) -> Iterable[Sequence[object]]:
    """Return the rows' values as Postgres accepts them."""
    # Convert by column: most columns need no conversion, which one look at the whole column tells.
    if not rows:
        return ()
    defaulted = frozenset(_stored_defaults(table))
    by_row = (_staged(table, row, defaulted) for row in rows)
    by_column = [
        _storable_column(column, types.get(name, "text"))
        for name, column in zip(table.columns, zip(*by_row, strict=True), strict=True)
    ]
    return zip(*by_column, strict=True)


def _storable_column(column: Sequence[object], kind: str) -> Sequence[object]:
    convert, is_needed = _CONVERTERS.get(kind, (None, None))
    if convert is None or (is_needed is not None and not is_needed(column)):
        return column
    return [None if value is None else convert(value) for value in column]


def _is_unstorable(column: Sequence[object]) -> bool:
    """Return whether a column has text that Postgres refuses, or a value that is not text."""
    try:
        text = "".join(filter(None, column))  # type: ignore[arg-type]
    except TypeError:
        return True
    return storable_text(text) != text


def _has_offset(column: Sequence[object]) -> bool:
    """Return whether a column has a time that is not UTC; Postgres cuts the offset off."""
    return any(getattr(value, "tzinfo", UTC) is not UTC for value in column)


def _naive_utc(value: object) -> object:
    """Apply the offset: a column without time zone cuts it off."""
    if isinstance(value, datetime) and value.tzinfo is not None:
        return value.astimezone(UTC).replace(tzinfo=None)
    return value


def _storable(value: object) -> object:
    """Return text, or an array of texts, as Postgres accepts it."""
    if isinstance(value, str):
        return storable_text(value)
    return [_storable(part) for part in value] if isinstance(value, list | tuple) else value


Convert = Callable[[object], object]
IsNeeded = Callable[[Sequence[object]], bool]
# By a column's type: the conversion, and whether a column needs it. Other types need none.
_CONVERTERS: Mapping[str, tuple[Convert, IsNeeded | None]] = {
    "json": (json_text, None),
    "jsonb": (json_text, None),
    "timestamp without time zone": (_naive_utc, _has_offset),
    "text": (_storable, _is_unstorable),
    "character varying": (_storable, _is_unstorable),
    "character": (_storable, _is_unstorable),
    "text[]": (_storable, None),
    "character varying[]": (_storable, None),
}
