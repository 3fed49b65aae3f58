"""Where runs keep rows and progress: one transaction for both, so that neither is ahead."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

import msgspec
import psycopg
from psycopg import sql
from psycopg.rows import dict_row

from ray_pipeline.batch.progress import Item
from ray_pipeline.batch.results import Collected, Counts
from ray_pipeline.errors import Disposition, OwnershipLost
from ray_pipeline.jobs.spec import JobSpec, Request, Run
from ray_pipeline.jobs.table import Finding, Table, check_rows
from ray_pipeline.storage.postgres.connection import Connection, disposition

ITEMS = """
    SELECT item, state, attempts, done_at, not_before, next FROM job_items
    WHERE job = %s AND cycle = %s AND source = %s
"""
SAVE_ITEMS = """
    INSERT INTO job_items AS kept
        (job, cycle, source, item, state, attempts, rows, next, not_before, why, done_at)
    SELECT %s, %s, %s, saved.*, CASE WHEN state NOT IN ('paging', 'failed') THEN now() END
    FROM unnest(%s::text[], %s::text[], %s::integer[], %s::bigint[], %s::jsonb[],
                %s::timestamptz[], %s::text[])
        AS saved (item, state, attempts, rows, next, not_before, why)
    ON CONFLICT (job, cycle, source, item) DO UPDATE
    SET state = excluded.state, rows = excluded.rows, next = excluded.next, why = excluded.why,
        attempts = CASE WHEN excluded.attempts = 0 THEN 0 ELSE kept.attempts + 1 END,
        done_at = coalesce(excluded.done_at, kept.done_at),
        not_before = excluded.not_before, updated_at = now()
"""
SAVE_PAYLOAD = """
    INSERT INTO payloads (job, source, slot, batch, request, body, received_at)
    VALUES (%s, %s, %s, %s, %s, %s, %s) RETURNING id
"""
# An answer whose letters are still open is kept once, however often it is read.
KNOWN_PAYLOAD = """
    SELECT id FROM payloads WHERE job = %s AND source = %s AND slot = %s AND request = %s
    AND body = %s LIMIT 1
"""
PARK = """
    INSERT INTO dead_letters
        (feed, topic, partition, "offset", key, payload, reason, detail, parked_at)
    SELECT %(job)s, %(topic)s, 0, %(payload)s, %(key)s, %(raw)s, %(reason)s, %(detail)s,
           clock_timestamp()
    WHERE NOT EXISTS (
        SELECT FROM dead_letters WHERE topic = %(topic)s AND "offset" = %(payload)s
        AND payload = %(raw)s AND reason = %(reason)s AND state = 'open')
"""
FIND = """
    INSERT INTO findings (job, slot, "table", "check", detail) VALUES (%s, %s, %s, %s, %s)
    ON CONFLICT DO NOTHING
"""
COUNT = """
    UPDATE job_runs SET heartbeat_at = now(), items_done = items_done + %(items)s,
        calls = calls + %(calls)s, rows_seen = rows_seen + %(seen)s, rows_new = rows_new + %(new)s,
        rows_changed = rows_changed + %(changed)s, rows_parked = rows_parked + %(parked)s
    WHERE job = %(job)s AND slot = %(slot)s AND holder = %(holder)s AND state = 'running'
"""
PLANNED = "UPDATE job_runs SET items = %s, sources = %s WHERE job = %s AND slot = %s"
COLUMN_TYPES = """
    SELECT attname, format_type(atttypid, NULL) FROM pg_attribute
    WHERE attrelid = to_regclass(%s) AND attnum > 0 AND NOT attisdropped
"""
NEXT_BATCH = """
    INSERT INTO job_batches (job, slot, batch)
    SELECT %(job)s, %(slot)s, 1 + greatest(
        (SELECT coalesce(max(batch_id), 0) FROM {table}),
        (SELECT coalesce(max(batch), 0) FROM job_batches WHERE job = %(job)s))
    ON CONFLICT (job, slot) DO UPDATE SET batch = job_batches.batch RETURNING batch
"""
MANY_ROWS = 1_000
UPSERT_SLICE = 10_000  # rows; a row that is refused is looked for in one slice

_encode = msgspec.json.Encoder(decimal_format="number").encode


@dataclass(frozen=True, slots=True)
class Refused:
    """A row that Postgres would not take."""

    table: str
    row: object
    reason: str
    detail: str


def _by_item(results: Sequence[Collected]) -> Iterator[list[Collected]]:
    """Yield the results in order, in parts that have no item twice, as pages of one may come."""
    part: dict[str, Collected] = {}
    for result in results:
        if result.request.item in part:
            yield list(part.values())
            part = {}
        part[result.request.item] = result
    if part:
        yield list(part.values())


@dataclass(slots=True)
class JobStore:
    """Rows and progress of one job's runs, on a connection of its own."""

    connection: Connection
    spec: JobSpec
    run: Run
    cycle: datetime
    holder: str | None = None  # None: there is no run to be the holder of
    _types: dict[str, dict[str, str]] = field(default_factory=dict)

    async def items(self, source: str) -> dict[str, Item]:
        """Return what is known of the items of the run's cycle."""
        cursor = await self.connection.execute(ITEMS, (self.spec.name, self.cycle, source))
        return {
            item: Item(state, attempts, done_at, not_before, stored_request(page) if page else None)
            async for item, state, attempts, done_at, not_before, page in cursor
        }

    async def save(self, source: str, results: Sequence[Collected]) -> Counts:
        """
        Store the rows of some calls, what was wrong with them, and the items' progress: all or
        nothing.

        Raises:
            OwnershipLost: If the run is another's now.
            psycopg.Error: If Postgres is away, or refuses the statements.
        """
        counts = Counts()
        async with self.connection.transaction():
            rows = [row for result in results for row in result.rows]
            refused = await self._store_rows(rows, counts)
            await self._park(source, results, refused, counts)
            for some in _by_item(results):
                await self._save_items(source, some)
            for finding in self._findings(rows):
                await self._find(finding)
            cursor = await self.connection.execute(
                COUNT,
                asdict(counts)
                | {
                    "job": self.spec.name,
                    "slot": self.run.slot,
                    "holder": self.holder,
                    "items": sum(result.state != "paging" for result in results),
                    "calls": sum(result.calls for result in results),
                },
            )
            if self.holder is not None and cursor.rowcount == 0:
                # This process was frozen, and the run is another's now: nothing may be stored.
                raise OwnershipLost(f"another process has taken over job {self.spec.name}")
        return counts

    async def _save_items(self, source: str, results: Sequence[Collected]) -> None:
        columns = (
            [result.request.item for result in results],
            [result.state for result in results],
            [int(result.state == "failed") for result in results],
            [len(result.rows) for result in results],
            [_as_json(result.next) if result.next else None for result in results],
            [result.not_before for result in results],
            [result.why for result in results],
        )
        await self.connection.execute(SAVE_ITEMS, (self.spec.name, self.cycle, source, *columns))

    # Rows --------------------------------------------------------------------------------------

    async def _store_rows(self, rows: Sequence[object], counts: Counts) -> list[Refused]:
        refused: list[Refused] = []
        for table in self.spec.tables:
            mine = [row for row in rows if type(row) is table.row]
            counts.seen += len(mine)
            # The last of equal keys wins, as if they had come one after the other.
            unique = list({table.key_of(row): row for row in mine}.values())
            for begin in range(0, len(unique), UPSERT_SLICE):
                part = unique[begin : begin + UPSERT_SLICE]
                await self._store_slice(table, part, counts, refused)
        return refused

    async def _store_slice(
        self, table: Table, rows: Sequence[object], counts: Counts, refused: list[Refused]
    ) -> None:
        """Store rows; where one is refused, find it by halving, and store the others."""
        if not rows:
            return
        try:
            async with self.connection.transaction():
                new, changed = await upsert(
                    self.connection, table, rows, types=await self._column_types(table)
                )
        except psycopg.Error as error:
            if disposition(error) is not Disposition.PARK:
                raise
            if len(rows) == 1:
                reason = error.sqlstate or type(error).__name__
                refused.append(Refused(table.name, rows[0], reason, _first_line(error)))
                return
            half = len(rows) // 2
            await self._store_slice(table, rows[:half], counts, refused)
            await self._store_slice(table, rows[half:], counts, refused)
        else:
            counts.new += new
            counts.changed += changed

    async def _column_types(self, table: Table) -> Mapping[str, str]:
        if table.name not in self._types:
            cursor = await self.connection.execute(COLUMN_TYPES, (table.name,))
            self._types[table.name] = {name: kind async for name, kind in cursor}
        return self._types[table.name]

    async def prune(self) -> int:
        """Remove what the source no longer has, after a whole collection; return how many rows."""
        if self.spec.prune is None:
            return 0
        values = {"slot": self.run.slot, "job": self.spec.name, "batch": self.run.batch}
        cursor = await self.connection.execute(self.spec.prune.encode(), values)
        return max(cursor.rowcount, 0)

    async def planned(self, items: int, sources: Sequence[str]) -> None:
        """Say how much there is to do, in the book of runs."""
        values = (items, list(sources), self.spec.name, self.run.slot)
        await self.connection.execute(PLANNED, values)

    # What was wrong ----------------------------------------------------------------------------

    async def _park(
        self,
        source: str,
        results: Sequence[Collected],
        refused: Sequence[Refused],
        counts: Counts,
    ) -> None:
        for result in results:
            mine = [one for one in refused if any(one.row is row for row in result.rows)]
            if not (result.bad or mine):
                continue
            payload = await self._keep_payload(source, result)
            for bad in result.bad:
                await self._letter(result, payload, _raw(bad.raw), bad.reason, bad.detail)
            for one in mine:
                raw = _raw(asdict(one.row))  # type: ignore[call-overload]
                await self._letter(result, payload, raw, one.reason, f"{one.table}: {one.detail}")
            counts.parked += len(result.bad) + len(mine)

    async def _keep_payload(self, source: str, result: Collected) -> int:
        request = _as_json(result.request)
        identity = (self.spec.name, source, self.run.slot)
        cursor = await self.connection.execute(KNOWN_PAYLOAD, (*identity, request, result.text))
        row = await cursor.fetchone()
        if row is None:
            received_at = result.received_at or self.run.now
            cursor = await self.connection.execute(
                SAVE_PAYLOAD, (*identity, self.run.batch, request, result.text, received_at)
            )
            row = await cursor.fetchone()
        assert row is not None
        return int(row[0])

    async def _letter(
        self, result: Collected, payload: int, raw: bytes, reason: str, detail: str
    ) -> None:
        await self.connection.execute(
            PARK,
            {
                "job": self.spec.name,
                "topic": f"job:{self.spec.name}",
                "payload": payload,
                "key": result.request.item.encode(),
                "raw": raw,
                "reason": reason,
                "detail": detail[:500],
            },
        )

    def _findings(self, rows: Sequence[object]) -> Iterator[Finding]:
        for table in self.spec.tables:
            mine = [row for row in rows if type(row) is table.row]
            if mine:
                yield from check_rows(table, mine)

    async def _find(self, finding: Finding) -> None:
        await self.connection.execute(
            FIND,
            (self.spec.name, self.run.slot, finding.table, finding.check, finding.detail),
        )

    async def find(self, findings: Sequence[Finding]) -> None:
        """Record what is odd."""
        for finding in findings:
            await self._find(finding)


async def upsert(
    connection: Connection, table: Table, rows: Sequence[object], *, types: Mapping[str, str]
) -> tuple[int, int]:
    """
    Write rows of distinct keys; return how many are new and how many changed.

    A row that is there with the same values is not touched. COPY into a temporary table first:
    the types are then the table's own, and a row costs microseconds. The temporary table stays for
    the next call of this connection, empty.

    Raises:
        psycopg.Error: If one is refused; nothing of the call is stored then.
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
    # Deleted rows would be read again with every next slice; truncating costs more than a few rows.
    empty = "TRUNCATE {}" if len(rows) > MANY_ROWS else "DELETE FROM {}"
    await connection.execute(sql.SQL(empty).format(stage))
    assert counted is not None
    return int(counted[0]), int(counted[1])


def _upsert_statement(table: Table, stage: sql.Identifier, columns: sql.Composable) -> sql.Composed:
    """Return the one statement that writes every batch table."""
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
        mine: sql.Composable = sql.SQL("TRUE")
        if table.own:
            mine = sql.SQL("stored.{0} = excluded.{0}").format(sql.Identifier(table.own))
        conflict = sql.SQL("DO UPDATE SET {} WHERE ({}) IS DISTINCT FROM ({}) AND {}").format(
            sql.SQL(", ").join(sets), sql.SQL(", ").join(old), sql.SQL(", ").join(new), mine
        )
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
    """Return the rows' values as Postgres takes them; by column, which is quicker than by value."""
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


def _has_nul(column: Sequence[object]) -> bool:
    """Look through a whole column at once: nearly none has one. True where it is not all text."""
    try:
        return "\x00" in "".join(filter(None, column))  # type: ignore[arg-type]
    except TypeError:
        return True


def _has_offset(column: Sequence[object]) -> bool:
    """Look for a time that is not UTC: of those that are, Postgres may cut the offset off."""
    return any(getattr(value, "tzinfo", UTC) is not UTC for value in column)


def _json_text(value: object) -> str:
    return _encode(value).decode().replace("\\u0000", "")


def _naive_utc(value: object) -> object:
    """A zone's offset would be cut off, not applied."""
    if isinstance(value, datetime) and value.tzinfo is not None:
        return value.astimezone(UTC).replace(tzinfo=None)
    return value


def _storable_text(value: object) -> object:
    """Postgres has no NUL."""
    return value.replace("\x00", "") if isinstance(value, str) and "\x00" in value else value


Convert = Callable[[object], object]
IsNeeded = Callable[[Sequence[object]], bool]
# By a column's type, and for which columns; the others take what Python has.
_CONVERTERS: Mapping[str, tuple[Convert, IsNeeded | None]] = {
    "json": (_json_text, None),
    "jsonb": (_json_text, None),
    "timestamp without time zone": (_naive_utc, _has_offset),
    "text": (_storable_text, _has_nul),
    "character varying": (_storable_text, _has_nul),
    "character": (_storable_text, _has_nul),
}


def _raw(value: object) -> bytes:
    try:
        return _encode(value)
    except (TypeError, ValueError):
        return repr(value).encode()


def _as_json(request: Request) -> str:
    return json.dumps(
        {
            "item": request.item,
            "path": request.path,
            "params": dict(request.params),
            "facts": dict(request.facts),
            "page": request.page,
        },
        sort_keys=True,
    )


def stored_request(stored: Mapping[str, Any]) -> Request:
    """Return a request that was stored as JSON."""
    return Request(**stored)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


async def next_batch(connection: Connection, spec: JobSpec, slot: datetime) -> int:
    """Return the number of a slot's batch: the same one whenever the slot is run; 0 for none."""
    if spec.batched is None:
        return 0
    statement = sql.SQL(NEXT_BATCH).format(table=sql.Identifier(spec.batched))
    cursor = await connection.execute(statement, {"job": spec.name, "slot": slot})
    row = await cursor.fetchone()
    assert row is not None
    return int(row[0])


async def read_inputs(
    connection: Connection, queries: Mapping[str, str]
) -> dict[str, tuple[Mapping[str, Any], ...]]:
    """Return the rows of a job's input queries, by name."""
    found: dict[str, tuple[Mapping[str, Any], ...]] = {}
    async with connection.cursor(row_factory=dict_row) as cursor:
        for name, query in queries.items():
            await cursor.execute(query.encode())
            found[name] = tuple(await cursor.fetchall())
    return found
