"""Store the rows and the progress of runs: one transaction for both, so that they always agree."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

import psycopg
from psycopg import sql
from psycopg.rows import dict_row

from ray_pipeline.batch.progress import ItemProgress
from ray_pipeline.batch.results import Collected, RowCounts
from ray_pipeline.errors import Disposition, OwnershipLost
from ray_pipeline.jobs.spec import JobSpec, Request, Run
from ray_pipeline.jobs.table import Table, TableFinding, check_rows
from ray_pipeline.storage.postgres.connection import Connection
from ray_pipeline.storage.postgres.database_errors import disposition
from ray_pipeline.storage.postgres.upsert import column_types, encode_json, upsert

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
# The same answer is stored once, however often it is parsed.
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
NEXT_BATCH = """
    INSERT INTO job_batches (job, slot, batch)
    SELECT %(job)s, %(slot)s, 1 + greatest(
        (SELECT coalesce(max(batch_id), 0) FROM {table}),
        (SELECT coalesce(max(batch), 0) FROM job_batches WHERE job = %(job)s))
    ON CONFLICT (job, slot) DO UPDATE SET batch = job_batches.batch RETURNING batch
"""
UPSERT_SLICE = 10_000  # rows; a refused row is searched for within one slice


@dataclass(frozen=True, slots=True)
class RefusedRow:
    """A row that Postgres refused."""

    table: str
    row: object
    reason: str
    detail: str


def _by_item(results: Sequence[Collected]) -> Iterator[list[Collected]]:
    """Yield the results in order, in parts that name each item once: one statement cannot update a
    row twice, and a batch may hold several pages of an item."""
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
    """Stores the rows and the progress of a run, on a connection of its own."""

    connection: Connection
    spec: JobSpec
    run: Run
    cycle: datetime
    holder: str | None = None  # None: the rows belong to no run, as when dead letters are replayed
    _types: dict[str, dict[str, str]] = field(default_factory=dict)

    async def items(self, source: str) -> dict[str, ItemProgress]:
        """Return the progress of the items in the run's cycle."""
        cursor = await self.connection.execute(ITEMS, (self.spec.name, self.cycle, source))
        return {
            item: ItemProgress(
                state, attempts, done_at, not_before, stored_request(page) if page else None
            )
            async for item, state, attempts, done_at, not_before, page in cursor
        }

    async def save(self, source: str, results: Sequence[Collected]) -> RowCounts:
        """
        Store the rows of some results, their dead letters and findings, and the items' progress in
        one transaction.

        Raises:
            OwnershipLost: If another process has taken over the run; nothing is stored.
            psycopg.Error: If Postgres is unavailable or refuses a statement.
        """
        counts = RowCounts()
        async with self.connection.transaction():
            rows = [row for result in results for row in result.rows]
            refused = await self._store_rows(rows, counts)
            await self._park(source, results, refused, counts)
            for part in _by_item(results):
                await self._save_items(source, part)
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
                # This process was suspended for so long that another one took over the run.
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

    async def _store_rows(self, rows: Sequence[object], counts: RowCounts) -> list[RefusedRow]:
        # The upsert is one statement, so one bad row fails its whole slice. Halving finds it with
        # about 2 log2(n) further statements, each in a savepoint.
        refused: list[RefusedRow] = []
        for table in self.spec.tables:
            table_rows = [row for row in rows if type(row) is table.row]
            counts.seen += len(table_rows)
            # The last row of a key wins, as if the rows had been written one after the other.
            unique = list({table.key_of(row): row for row in table_rows}.values())
            for begin in range(0, len(unique), UPSERT_SLICE):
                part = unique[begin : begin + UPSERT_SLICE]
                await self._store_slice(table, part, counts, refused)
        return refused

    async def _store_slice(
        self, table: Table, rows: Sequence[object], counts: RowCounts, refused: list[RefusedRow]
    ) -> None:
        """Store rows; find a refused row by halving, set it aside, and store the others."""
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
                refused.append(RefusedRow(table.name, rows[0], reason, _first_line(error)))
                return
            half = len(rows) // 2
            await self._store_slice(table, rows[:half], counts, refused)
            await self._store_slice(table, rows[half:], counts, refused)
        else:
            counts.new += new
            counts.changed += changed

    async def _column_types(self, table: Table) -> Mapping[str, str]:
        if table.name not in self._types:
            self._types[table.name] = await column_types(self.connection, table)
        return self._types[table.name]

    async def prune(self) -> int:
        """Run the job's `prune` statement, and return how many rows it changed."""
        if self.spec.prune is None:
            return 0
        values = {"slot": self.run.slot, "job": self.spec.name, "batch": self.run.batch}
        cursor = await self.connection.execute(self.spec.prune.encode(), values)
        return max(cursor.rowcount, 0)

    async def planned(self, items: int, sources: Sequence[str]) -> None:
        """Record in `job_runs` how many items the run requests, and from which sources."""
        values = (items, list(sources), self.spec.name, self.run.slot)
        await self.connection.execute(PLANNED, values)

    # Dead letters and findings ----------------------------------------------------------------

    async def _park(
        self,
        source: str,
        results: Sequence[Collected],
        refused: Sequence[RefusedRow],
        counts: RowCounts,
    ) -> None:
        for result in results:
            refused_rows = [
                refusal for refusal in refused if any(refusal.row is row for row in result.rows)
            ]
            if not (result.bad or refused_rows):
                continue
            payload = await self._keep_payload(source, result)
            for bad in result.bad:
                await self._dead_letter(result, payload, _raw(bad.raw), bad.reason, bad.detail)
            for refusal in refused_rows:
                raw = _raw(asdict(refusal.row))  # type: ignore[call-overload]
                detail = f"{refusal.table}: {refusal.detail}"
                await self._dead_letter(result, payload, raw, refusal.reason, detail)
            counts.parked += len(result.bad) + len(refused_rows)

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

    async def _dead_letter(
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

    def _findings(self, rows: Sequence[object]) -> Iterator[TableFinding]:
        for table in self.spec.tables:
            table_rows = [row for row in rows if type(row) is table.row]
            if table_rows:
                yield from check_rows(table, table_rows)

    async def _find(self, finding: TableFinding) -> None:
        await self.connection.execute(
            FIND,
            (self.spec.name, self.run.slot, finding.table, finding.check, finding.detail),
        )

    async def find(self, findings: Sequence[TableFinding]) -> None:
        """Record findings."""
        for finding in findings:
            await self._find(finding)


def _raw(value: object) -> bytes:
    try:
        return encode_json(value)
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
    """Return the request that `job_items` or `payloads` holds as JSON."""
    return Request(**stored)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


async def next_batch(connection: Connection, spec: JobSpec, slot: datetime) -> int:
    """Return the batch number of a slot; a repeated run keeps it. 0 for a job without batches."""
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
    inputs: dict[str, tuple[Mapping[str, Any], ...]] = {}
    async with connection.cursor(row_factory=dict_row) as cursor:
        for name, query in queries.items():
            await cursor.execute(query.encode())
            inputs[name] = tuple(await cursor.fetchall())
    return inputs
