"""
Write rows into a batch table: insert new keys, update changed rows, leave equal rows alone.

The rows are copied into a temporary table first. COPY gives every value the type of the table's own
column and costs microseconds a row, where an INSERT with parameters costs several times as much.
One INSERT ... SELECT ... ON CONFLICT then moves them.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime

import msgspec
from psycopg import sql

from ray_pipeline.jobs.table import Table
from ray_pipeline.storage.postgres.connection import Connection
from ray_pipeline.storage.postgres.storable_text import storable_text

COLUMN_TYPES = """
    SELECT attname, format_type(atttypid, NULL) FROM pg_attribute
    WHERE attrelid = to_regclass(%s) AND attnum > 0 AND NOT attisdropped
"""
MANY_ROWS = 1_000

encode_json = msgspec.json.Encoder(decimal_format="number").encode


async def column_types(connection: Connection, table: Table) -> dict[str, str]:
    """Return the types of a table's columns, by name."""
    cursor = await connection.execute(COLUMN_TYPES, (table.name,))
    return {name: kind async for name, kind in cursor}


async def upsert(
    connection: Connection, table: Table, rows: Sequence[object], *, types: Mapping[str, str]
) -> tuple[int, int]:
    """
    Write rows of distinct keys; return how many are new and how many changed.

    A stored row with the same values is not touched. The temporary table stays for the next call
    on this connection, empty.

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
            for values in _storable(table, rows, types):
                await copy.write_row(values)
        await cursor.execute(_upsert_statement(table, stage, columns))
        counted = await cursor.fetchone()
    # The next slice would read deleted rows again, so TRUNCATE a large slice. TRUNCATE makes a new
    # file, which costs more than deleting a few rows.
    empty = "TRUNCATE {}" if len(rows) > MANY_ROWS else "DELETE FROM {}"
    await connection.execute(sql.SQL(empty).format(stage))
    assert counted is not None
    return int(counted[0]), int(counted[1])


def _upsert_statement(table: Table, stage: sql.Identifier, columns: sql.Composable) -> sql.Composed:
    """Return the statement that moves the rows from the temporary table, and counts them."""
    updated = [name for name in table.columns if name not in table.key and name not in table.keep]
    identifier = sql.Identifier(table.name)
    conflict: sql.Composable = sql.SQL("DO NOTHING")
    if table.replace and updated:
        new = [
            sql.SQL("coalesce(excluded.{0}, stored.{0})" if name in table.fill else "excluded.{0}")
            .format(sql.Identifier(name))
            for name in updated
        ]  # fmt: skip
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
    # In a row that an INSERT ... ON CONFLICT returns, xmax is 0 if the row was inserted.
    return sql.SQL(
        "WITH written AS (INSERT INTO {table} AS stored ({columns}) SELECT {columns} FROM {stage} "
        "ON CONFLICT ({key}) {conflict} RETURNING (xmax = 0) AS fresh) "
        "SELECT count(*) FILTER (WHERE fresh), count(*) FILTER (WHERE NOT fresh) FROM written"
    ).format(
        table=identifier,
        columns=columns,
        stage=stage,
        key=sql.SQL(", ").join(map(sql.Identifier, table.key)),
        conflict=conflict,
    )


def _storable(
    table: Table, rows: Sequence[object], types: Mapping[str, str]
) -> Iterable[Sequence[object]]:
    """Return the rows' values as Postgres accepts them."""
    # Convert by column: most columns need no conversion, which one look at the whole column tells.
    if not rows:
        return ()
    by_column = [
        _storable_column(column, types.get(name, "text"))
        for name, column in zip(
            table.columns, zip(*map(table.values, rows), strict=True), strict=True
        )
    ]
    return zip(*by_column, strict=True)


def _storable_column(column: Sequence[object], kind: str) -> Sequence[object]:
    convert, is_needed = _CONVERTERS.get(kind, (None, None))
    if convert is None or (is_needed is not None and not is_needed(column)):
        return column
    return [None if value is None else convert(value) for value in column]


def _has_unstorable(column: Sequence[object]) -> bool:
    """Return whether a column has a text to convert, or a value that is not text."""
    try:
        text = "".join(filter(None, column))  # type: ignore[arg-type]
    except TypeError:
        return True
    return storable_text(text) != text


def _has_offset(column: Sequence[object]) -> bool:
    """Return whether a column has a time that is not UTC; Postgres cuts the offset off."""
    return any(getattr(value, "tzinfo", UTC) is not UTC for value in column)


def _json_text(value: object) -> str:
    return encode_json(value).decode().replace("\\u0000", "")


def _naive_utc(value: object) -> object:
    """Apply the offset: a column without time zone cuts it off."""
    if isinstance(value, datetime) and value.tzinfo is not None:
        return value.astimezone(UTC).replace(tzinfo=None)
    return value


def _as_storable(value: object) -> object:
    return storable_text(value) if isinstance(value, str) else value


Convert = Callable[[object], object]
IsNeeded = Callable[[Sequence[object]], bool]
# By a column's type: the conversion, and whether a column needs it. Other types need none.
_CONVERTERS: Mapping[str, tuple[Convert, IsNeeded | None]] = {
    "json": (_json_text, None),
    "jsonb": (_json_text, None),
    "timestamp without time zone": (_naive_utc, _has_offset),
    "text": (_as_storable, _has_unstorable),
    "character varying": (_as_storable, _has_unstorable),
    "character": (_as_storable, _has_unstorable),
}
