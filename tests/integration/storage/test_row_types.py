"""Row types and Kafka layouts compared with the migrated schema: a mismatch fails before a run."""

import dataclasses
import types
import typing
from collections.abc import Iterator
from datetime import date, datetime
from decimal import Decimal

import psycopg
import pytest

from ray_pipeline.catalog import all_jobs
from ray_pipeline.feeds.feed import Feed
from ray_pipeline.feeds.feed_registry import FEEDS
from ray_pipeline.jobs.spec import JobSpec
from ray_pipeline.jobs.table import Table

# Types of Postgres that take a value of a Python type without loss.
INTEGERS = {"integer", "bigint", "smallint", "numeric"}
TEXTS = {"text", "character varying", "character"}
STORABLE: dict[object, set[str]] = {
    str: TEXTS,
    int: INTEGERS,
    Decimal: {"numeric", "double precision"},
    bool: {"boolean"},
    date: {"date"},
    datetime: {"timestamp without time zone", "timestamp with time zone"},
    typing.Any: {"json", "jsonb"},
}

COLUMNS = """
    SELECT attname, format_type(atttypid, NULL), attnotnull,
           atthasdef OR attidentity <> '' OR attgenerated <> ''
    FROM pg_attribute
    WHERE attrelid = to_regclass(%s) AND attnum > 0 AND NOT attisdropped
"""
UNIQUE = """
    SELECT array_agg(attname::text) FROM pg_index
    JOIN pg_attribute ON attrelid = indrelid AND attnum = ANY(indkey)
    WHERE indrelid = to_regclass(%s) AND indisunique AND indpred IS NULL AND indexprs IS NULL
    GROUP BY indexrelid
"""


@dataclasses.dataclass(frozen=True, slots=True)
class StoredColumn:
    """A column of the migrated schema."""

    kind: str
    not_null: bool
    has_default: bool


class Schema:
    """What the tests ask the migrated database."""

    def __init__(self, connection: psycopg.Connection) -> None:
        self._connection = connection

    def columns(self, table: str) -> dict[str, StoredColumn]:
        """Return a table's columns by name; none if the table does not exist."""
        found = self._connection.execute(COLUMNS, (table,)).fetchall()
        return {name: StoredColumn(*facts) for name, *facts in found}

    def unique_keys(self, table: str) -> list[set[str]]:
        """Return the column sets of a table's unique indexes, the primary key among them."""
        return [set(names) for (names,) in self._connection.execute(UNIQUE, (table,))]


@pytest.fixture
def schema(postgres_dsn: str) -> Iterator[Schema]:
    """The migrated schema."""
    with psycopg.connect(postgres_dsn) as connection:
        yield Schema(connection)


def tables() -> Iterator[tuple[JobSpec, Table]]:
    for spec in all_jobs():
        for table in spec.tables:
            yield spec, table


def unwrapped(hint: object) -> tuple[object, bool]:
    """Return a field's type, and whether it may be None."""
    if isinstance(hint, types.UnionType):
        (kind,) = (part for part in hint.__args__ if part is not types.NoneType)
        return kind, True
    return hint, False


def storable(hint: object) -> set[str]:
    """Return the types of columns that store a field of a type."""
    kind, _ = unwrapped(hint)
    if typing.get_origin(kind) is typing.Literal:
        return TEXTS
    if typing.get_origin(kind) is list:
        return {"json", "jsonb", "text[]", "character varying[]"}
    return STORABLE[kind]


def test_every_field_of_a_row_is_a_column_of_a_fitting_type(schema):
    """A misspelt or wrongly typed field would fail the first run, with all of its rows."""
    problems = []
    for _, table in tables():
        columns = schema.columns(table.name)
        for name, hint in typing.get_type_hints(table.row).items():
            kind = columns[name].kind if name in columns else "missing"
            if kind not in storable(hint):
                problems.append(f"{table.name}.{name}: {hint} in {kind}")

    assert problems == []


def test_a_column_that_refuses_null_has_a_field_that_is_never_none(schema):
    """NULL in a NOT NULL column would send the row to the dead letters."""
    problems = []
    for _, table in tables():
        columns = schema.columns(table.name)
        for name, hint in typing.get_type_hints(table.row).items():
            if columns[name].not_null and unwrapped(hint)[1]:
                problems.append(f"{table.name}.{name}: {hint}, but NOT NULL")

    assert problems == []


def test_columns_without_a_field_have_a_default(schema):
    """A row must not lack a column that the table requires."""
    problems = []
    for _, table in tables():
        for name, column in schema.columns(table.name).items():
            given = name in table.columns
            if not given and column.not_null and not column.has_default:
                problems.append(f"{table.name}.{name}")

    assert problems == []


def test_the_key_of_a_table_is_a_unique_index(schema):
    """ON CONFLICT needs an index of exactly these columns."""
    for _, table in tables():
        assert set(table.key) in schema.unique_keys(table.name), table.name


def test_the_columns_that_a_table_names_exist(schema):
    """What stays, what is filled, what gets the time of a change, what is checked."""
    for _, table in tables():
        columns = schema.columns(table.name)
        named = {
            *table.key,
            *table.keep,
            *table.clears,
            *(limits.column for limits in table.ranges),
        }
        if table.writer:
            named.add(table.writer)
        assert named <= set(table.columns), table.name
        assert {name for name in (table.touched, table.event) if name} <= set(columns), table.name
        ranged = {columns[limits.column].kind for limits in table.ranges}
        assert ranged <= INTEGERS | {"double precision"}, table.name


def test_a_batched_job_numbers_a_table_of_its_own(schema):
    """The next number is read from the column batch_id."""
    batched = {spec.name: spec for spec in all_jobs() if spec.batched is not None}

    assert batched
    for spec in batched.values():
        assert spec.batched in {table.name for table in spec.tables}, spec.name
        assert schema.columns(spec.batched)["batch_id"].kind in INTEGERS, spec.name


@pytest.mark.parametrize("feed", FEEDS, ids=lambda feed: feed.name)
def test_a_layout_copies_into_columns_that_exist(schema, feed: Feed):
    """COPY names every column, and no column that it leaves out is required."""
    columns, copied = schema.columns(feed.table), feed.layout.columns

    assert len(copied) == len(set(copied))
    assert set(copied) <= set(columns)
    left_out = {name: column for name, column in columns.items() if name not in copied}
    assert [n for n, column in left_out.items() if column.not_null and not column.has_default] == []
