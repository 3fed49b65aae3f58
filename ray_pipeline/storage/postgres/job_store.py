"""Store the rows and the progress of runs: one transaction for both, so that they always agree."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timedelta

from ray_pipeline.batch.call_count import CallCount
from ray_pipeline.batch.progress import ItemProgress
from ray_pipeline.batch.responses import AnswerSizes
from ray_pipeline.batch.results import Collected, RowCounts, Saved
from ray_pipeline.errors import OwnershipLost
from ray_pipeline.jobs.spec import JobSpec, Run
from ray_pipeline.jobs.table import Table, TableFinding, check_rows, count_values
from ray_pipeline.storage.postgres.bad_data import Refusals, is_bad_data, refused_row, unstorable
from ray_pipeline.storage.postgres.connection import Connection
from ray_pipeline.storage.postgres.job_dead_letters import JobDeadLetters
from ray_pipeline.storage.postgres.stored_requests import request_json, stored_request
from ray_pipeline.storage.postgres.upsert import column_types, upsert

ITEMS = """
    SELECT item, state, attempts, done_at, not_before, next, updated_at FROM job_items
    WHERE job = %s AND cycle = %s AND source = %s
"""
SAVE_ITEMS = """
    INSERT INTO job_items AS kept
        (job, cycle, source, item, state, attempts, rows, next, not_before, why, done_at)
    SELECT %(job)s, %(cycle)s, %(source)s, item, state, coalesce(old.attempts, 0) + failures,
        saved.rows, saved.next,
        CASE WHEN pauses THEN
            now() + least(%(first_pause)s * 2 ^ least(coalesce(old.attempts, 0), 9),
                          %(longest_pause)s)
        ELSE saved.not_before END,
        saved.why, CASE WHEN state NOT IN ('paging', 'failed') THEN now() END
    FROM unnest(%(items)s::text[], %(states)s::text[], %(failures)s::integer[], %(rows)s::bigint[],
                %(next)s::jsonb[], %(not_before)s::timestamptz[], %(why)s::text[],
                %(pauses)s::boolean[])
        AS saved (item, state, failures, rows, next, not_before, why, pauses)
    LEFT JOIN (
        SELECT item, attempts FROM job_items
        WHERE job = %(job)s AND cycle = %(cycle)s AND source = %(source)s) AS old USING (item)
    ON CONFLICT (job, cycle, source, item) DO UPDATE
    SET state = excluded.state, rows = excluded.rows, next = excluded.next, why = excluded.why,
        attempts = CASE WHEN excluded.state = 'failed' THEN excluded.attempts ELSE 0 END,
        done_at = coalesce(excluded.done_at, kept.done_at),
        not_before = excluded.not_before, updated_at = now()
"""
# A failed item of a sweep is requested again after this pause, which doubles with each failure.
FIRST_PAUSE = timedelta(hours=12)
LONGEST_PAUSE = timedelta(days=30)
REOPEN = """
    UPDATE job_items SET state = 'failed', attempts = attempts + 1, done_at = NULL,
        not_before = NULL, updated_at = now()
    WHERE job = %s AND cycle = %s AND source = %s AND item = ANY(%s)
"""
ANSWER_SIZES = """
    SELECT item, page, value_count FROM answer_sizes WHERE job = %s AND source = %s
"""
SAVE_ANSWER_SIZES = """
    INSERT INTO answer_sizes AS kept (job, source, item, page, value_count)
    SELECT %s, %s, saved.* FROM unnest(%s::text[], %s::integer[], %s::bigint[])
        AS saved (item, page, value_count)
    ON CONFLICT (job, source, item, page) DO UPDATE
    SET value_count = excluded.value_count, updated_at = now()
    WHERE kept.value_count <> excluded.value_count
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
UPSERT_SLICE = 10_000  # rows; a refused row is searched for within one slice


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
    calls: CallCount = field(default_factory=CallCount)  # the calls of the run
    _types: dict[str, dict[str, str]] = field(default_factory=dict)

    async def items(self, source: str) -> dict[str, ItemProgress]:
        """Return the progress of the items in the run's cycle."""
        cursor = await self.connection.execute(ITEMS, (self.spec.name, self.cycle, source))
        return {
            item: ItemProgress(
                state,
                attempts,
                done_at,
                not_before,
                next=stored_request(page) if page else None,
                tried_at=tried_at,
            )
            async for item, state, attempts, done_at, not_before, page, tried_at in cursor
        }

    async def answer_sizes(self, source: str) -> AnswerSizes:
        """Return how many values the last complete answer to each page of each item had."""
        cursor = await self.connection.execute(ANSWER_SIZES, (self.spec.name, source))
        return {(item, page): value_count async for item, page, value_count in cursor}

    async def reopen(self, source: str, items: Sequence[str]) -> None:
        """Mark items as failed, so that the next run requests them again."""
        await self.connection.execute(REOPEN, (self.spec.name, self.cycle, source, list(items)))

    async def save(self, source: str, results: Sequence[Collected]) -> Saved:
        """
        Store the rows of some results, their dead letters and findings, and the items' progress in
        one transaction.

        A result that cannot be stored costs no other: the results are stored one by one then, and
        the item of that result fails.

        Raises:
            OwnershipLost: If another process has taken over the run; nothing is stored.
            psycopg.Error: If Postgres is unavailable or refuses a statement.
        """
        try:
            return await self._save(source, results)
        except Exception as error:
            if not is_bad_data(error):
                raise
            if len(results) == 1:
                return await self._save(source, [unstorable(results[0], error)])
        saved = [await self.save(source, [result]) for result in results]
        counts = RowCounts()
        for part in saved:
            counts.add(part.counts)
        return Saved(tuple(result for part in saved for result in part.results), counts)

    async def _save(self, source: str, results: Sequence[Collected]) -> Saved:
        counts = RowCounts()
        with self.calls.unstored() as calls:
            async with self.connection.transaction():
                rows = [row for result in results for row in result.rows]
                refused = await self._store_rows(rows, counts)
                final = tuple(self._final(result, refused) for result in results)
                dead_letters = JobDeadLetters(self.connection, self.spec.name, self.run)
                counts.parked += await dead_letters.park(source, final, refused)
                for part in _by_item(final):
                    await self._save_items(source, part)
                    await self._save_answer_sizes(source, part)
                for finding in self._findings(rows):
                    await self._find(finding)
                await self._count(counts, final, calls)
        return Saved(final, counts)

    def _final(self, result: Collected, refused: Refusals) -> Collected:
        """Return a result as failed if Postgres refused every row of it."""
        problems = [refused[id(row)] for row in result.rows if id(row) in refused]
        if not problems or result.state != "done":
            return result
        # Of the rows with one key only the last was written, and possibly refused.
        key_of = {table.row: table.key_of for table in self.spec.tables}
        keys = {(type(row), key_of[type(row)](row)) for row in result.rows if type(row) in key_of}
        if len(problems) < len(keys):
            return result
        why = f"no row can be stored: {problems[0].table}: {problems[0].detail}"
        return replace(result, state="failed", why=why, fault="answer")

    async def _count(self, counts: RowCounts, results: Sequence[Collected], calls: int) -> None:
        cursor = await self.connection.execute(
            COUNT,
            asdict(counts)
            | {
                "job": self.spec.name,
                "slot": self.run.slot,
                "holder": self.holder,
                "items": sum(result.state != "paging" for result in results),
                "calls": calls,
            },
        )
        if self.holder is not None and cursor.rowcount == 0:
            # This process was suspended for so long that another one took over the run.
            raise OwnershipLost(f"another process has taken over job {self.spec.name}")

    async def _save_items(self, source: str, results: Sequence[Collected]) -> None:
        await self.connection.execute(
            SAVE_ITEMS,
            {
                "job": self.spec.name,
                "cycle": self.cycle,
                "source": source,
                "first_pause": FIRST_PAUSE,
                "longest_pause": LONGEST_PAUSE,
                "items": [result.request.item for result in results],
                "states": [result.state for result in results],
                "failures": [int(result.state == "failed") for result in results],
                "rows": [len(result.rows) for result in results],
                "next": [request_json(result.next) if result.next else None for result in results],
                "not_before": [result.not_before for result in results],
                "why": [result.why for result in results],
                # Only the next run of a sweep meets the item again; and if the provider failed, the
                # item may be requested as soon as the provider works.
                "pauses": [
                    self.spec.sweep and result.fault in {"refusal", "answer"} for result in results
                ],
            },
        )

    async def _save_answer_sizes(self, source: str, results: Sequence[Collected]) -> None:
        """Remember the sizes of complete answers of sources whose answers have a usual size."""
        least = {each.provider.name: each.least for each in self.spec.sources}
        complete = [result for result in results if result.state in {"done", "paging"}]
        if not complete or not least.get(source):
            return
        columns = (
            [result.request.item for result in complete],
            [result.request.page for result in complete],
            [count_values(result.rows) for result in complete],
        )
        await self.connection.execute(SAVE_ANSWER_SIZES, (self.spec.name, source, *columns))

    # Rows --------------------------------------------------------------------------------------

    async def _store_rows(self, rows: Sequence[object], counts: RowCounts) -> Refusals:
        # The upsert is one statement, so one bad row fails its whole slice. Halving finds it with
        # about 2 log2(n) further statements, each in a savepoint.
        refused: Refusals = {}
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
        self, table: Table, rows: Sequence[object], counts: RowCounts, refused: Refusals
    ) -> None:
        """Store rows; find a refused row by halving, set it aside, and store the others."""
        if not rows:
            return
        try:
            async with self.connection.transaction():
                new, changed = await upsert(
                    self.connection, table, rows, types=await self._column_types(table)
                )
        except Exception as error:
            if not is_bad_data(error):
                raise
            if len(rows) == 1:
                refused[id(rows[0])] = refused_row(table, rows[0], error)
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

    # Findings ----------------------------------------------------------------------------------

    def _findings(self, rows: Sequence[object]) -> Iterator[TableFinding]:
        for table in self.spec.tables:
            table_rows = [row for row in rows if type(row) is table.row]
            if table_rows:
                yield from check_rows(table, table_rows)

    async def _find(self, finding: TableFinding) -> None:
        await self.connection.execute(
            FIND,
            (
                self.spec.name,
                self.run.slot,
                finding.table,
                finding.check,
                finding.detail,
            ),
        )

    async def find(self, findings: Sequence[TableFinding]) -> None:
        """Record findings."""
        for finding in findings:
            await self._find(finding)
