"""
One measurement of the batch jobs, in a process of its own: `batch_work.py NAME`, JSON on stdout.

The settings come from the environment; the database has the schema and no rows.
"""

import asyncio
import json
import statistics
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import aiohttp
import uvloop
from psycopg import sql

from ray_pipeline.actors.limiter import LimiterActor
from ray_pipeline.batch.permits import Permit
from ray_pipeline.batch.slot_scheduler import Scheduler
from ray_pipeline.batch.worker_pool import CONCURRENCY
from ray_pipeline.catalog import all_jobs, job
from ray_pipeline.jobs.spec import Run
from ray_pipeline.jobs.table import Table
from ray_pipeline.providers.configured import base_urls
from ray_pipeline.schedules.cron import Cron
from ray_pipeline.services.job_run import collect
from ray_pipeline.settings import Settings, load
from ray_pipeline.storage.postgres.connection import Connection, session
from ray_pipeline.storage.postgres.job_store import UPSERT_SLICE
from ray_pipeline.storage.postgres.slots import Slots
from ray_pipeline.storage.postgres.upsert import column_types, upsert

PROVIDER = "finnhub"  # a window of a second and one of a minute
LEASE_CALLS = 20
SECONDS = 5.0
COMPANIES = 500
SLOT = datetime(2026, 11, 2, 6, tzinfo=UTC)
ROWS = 100_000
DUE = 40
PATIENCE_S = 150.0
TICK_S = 1.0  # the default of the actor

Numbers = dict[str, float]


# Permits -----------------------------------------------------------------------------------------


async def limiter(settings: Settings) -> Numbers:
    """Request single permits from one caller and from eight, then leases of twenty permits."""
    actor = LimiterActor(settings)

    async def ask(calls: int) -> int:
        found = await actor.acquire(PROVIDER, job="bench", sweep=False, calls=calls)
        if not isinstance(found, Permit):
            raise RuntimeError(f"no grant: {found}")
        return found.calls

    await _for_a_while(lambda: ask(1), callers=1)
    one, one_ms = await _for_a_while(lambda: ask(1), callers=1)
    many, many_ms = await _for_a_while(lambda: ask(1), callers=CONCURRENCY)
    leased, leased_ms = await _for_a_while(lambda: ask(LEASE_CALLS), callers=CONCURRENCY)
    await actor.stop(1)
    return {
        "one": one, "one_p99_ms": one_ms, "many": many, "many_p99_ms": many_ms,
        "leased": leased, "leased_p99_ms": leased_ms,
    }  # fmt: skip


async def _for_a_while(ask: Callable[[], Awaitable[int]], *, callers: int) -> tuple[float, float]:
    """Return permits per second, and the p99 of a request in ms."""
    taken_s: list[float] = []
    granted: list[int] = []
    begun_s = time.perf_counter()

    async def caller() -> None:
        while (asked_s := time.perf_counter()) < begun_s + SECONDS:
            granted.append(await ask())
            taken_s.append(time.perf_counter() - asked_s)

    await asyncio.gather(*(caller() for _ in range(callers)))
    passed_s = time.perf_counter() - begun_s
    return sum(granted) / passed_s, statistics.quantiles(taken_s, n=100)[98] * 1000


# A sweep -----------------------------------------------------------------------------------------


async def sweep(settings: Settings) -> Numbers:
    """Run a sweep over 500 companies, and the same calls by aiohttp alone, after a warm-up."""
    spec = job("company_news")
    await _add_companies(settings)
    companies = tuple({"symbol": f"S{number:03}"} for number in range(1, COMPANIES + 1))
    run = Run(spec.name, SLOT, SLOT, inputs=dict.fromkeys(spec.inputs, companies))
    base = base_urls(settings)[PROVIDER]
    requests = [(base + one.path, dict(one.params)) for one in spec.sources[0].plan(run)]
    numbers: Numbers = {}
    for turn in range(2):
        numbers["plain"] = await _plainly(requests)
        begun_s = time.perf_counter()
        outcome = await collect(settings, spec, SLOT + timedelta(days=turn), again=True)
        numbers["ours"] = outcome.calls / (time.perf_counter() - begun_s)
        if outcome.items_done != COMPANIES or outcome.calls != COMPANIES:
            raise RuntimeError(f"{outcome.state}: {outcome.why}")
        numbers["rows"] = outcome.counts.seen
    return numbers | {"ratio": numbers["ours"] / numbers["plain"], "peak_mib": _peak_mib()}


async def _add_companies(settings: Settings) -> None:
    async with session(settings.postgres_dsn(), name="bench") as connection:
        await connection.execute(
            "INSERT INTO sp500_companies (symbol, company_name) "
            "SELECT 'S' || lpad(n::text, 3, '0'), 'Company' FROM generate_series(1, %s) AS n",
            (COMPANIES,),
        )


async def _plainly(requests: Sequence[tuple[str, Mapping[str, str]]]) -> float:
    """Return requests per second for the same calls with the same concurrency."""
    waiting = iter(requests)

    async def caller(client: aiohttp.ClientSession) -> None:
        for url, params in waiting:
            async with client.get(url, params=params) as response:
                response.raise_for_status()
                json.loads(await response.text())

    begun_s = time.perf_counter()
    async with aiohttp.ClientSession(headers={"X-Finnhub-Token": "bench"}) as client:
        await asyncio.gather(*(caller(client) for _ in range(CONCURRENCY)))
    return len(requests) / (time.perf_counter() - begun_s)


# Rows --------------------------------------------------------------------------------------------


async def wide(settings: Settings) -> Numbers:
    """Store 100,000 rows of the widest table, by the pipeline and by COPY and an upsert."""
    table = max((one for spec in all_jobs() for one in spec.tables), key=lambda t: len(t.columns))
    truncate = sql.SQL("TRUNCATE {}").format(sql.Identifier(table.name))
    async with session(settings.postgres_dsn(), name="bench") as connection:
        types = await column_types(connection, table)
        rows = [_row(table, types, number) for number in range(ROWS)]
        bare_s = await _bare(connection, table, rows)
        await connection.execute(truncate)
        begun_s = time.perf_counter()
        async with connection.transaction():
            for begin in range(0, ROWS, UPSERT_SLICE):
                part = rows[begin : begin + UPSERT_SLICE]
                await upsert(connection, table, part, types=types)
        ours_s = time.perf_counter() - begun_s
        again_s = time.perf_counter()
        async with connection.transaction():
            for begin in range(0, ROWS, UPSERT_SLICE):
                part = rows[begin : begin + UPSERT_SLICE]
                assert await upsert(connection, table, part, types=types) == (0, 0)
        again_s = time.perf_counter() - again_s
        await connection.execute(truncate)
        bare_s = (
            bare_s + await _bare(connection, table, rows)
        ) / 2  # once before the pipeline, once after
    return {
        "columns": len(table.columns), "ours_s": ours_s, "bare_s": bare_s,
        "ratio": ours_s / bare_s, "again_s": again_s,
    }  # fmt: skip


async def _bare(connection: Connection, table: Table, rows: Sequence[object]) -> float:
    """Store the rows as a short script would; the copied values are prepared before."""
    values = [table.values(row) for row in rows]
    columns = sql.SQL(", ").join(map(sql.Identifier, table.columns))
    excluded = sql.SQL(", ").join(
        sql.SQL("{0} = excluded.{0}").format(sql.Identifier(name))
        for name in table.columns
        if name not in table.key
    )
    names = {
        "table": sql.Identifier(table.name),
        "columns": columns,
        "key": sql.SQL(", ").join(map(sql.Identifier, table.key)),
        "excluded": excluded,
    }
    begun_s = time.perf_counter()
    async with connection.transaction(), connection.cursor() as cursor:
        await cursor.execute(
            sql.SQL(
                "CREATE TEMP TABLE bare ON COMMIT DROP AS SELECT {columns} FROM {table} LIMIT 0"
            ).format(**names)
        )
        async with cursor.copy(sql.SQL("COPY bare ({}) FROM STDIN").format(columns)) as copy:
            for row in values:
                await copy.write_row(row)
        await cursor.execute(
            sql.SQL(
                "INSERT INTO {table} ({columns}) SELECT {columns} FROM bare "
                "ON CONFLICT ({key}) DO UPDATE SET {excluded}"
            ).format(**names)
        )
    return time.perf_counter() - begun_s


def _row(table: Table, types: Mapping[str, str], number: int) -> object:
    """Return a row with a value in every column."""
    return table.row(
        **{
            one.name: _value(types.get(one.name, "text"), number, is_key=one.name in table.key)
            for one in fields(table.row)
        }
    )


def _value(kind: str, number: int, *, is_key: bool) -> object:
    if kind in {"json", "jsonb"}:
        return "{}"
    if kind.endswith("[]"):
        raise RuntimeError(f"a bare COPY does not know {kind}")
    if "timestamp" in kind:
        return SLOT
    if kind == "date":
        return SLOT.date()
    if kind in {"integer", "bigint", "smallint"}:
        return number
    if kind in {"numeric", "double precision", "real"}:
        return Decimal(number) / 100
    return f"{number:07}" if is_key else "text"


# Slots -------------------------------------------------------------------------------------------


class Recorder:
    """Accepts a run and reports its success at once, as a quick run would."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.late_s: dict[str, float] = {}

    async def submit(self, job: str, slot: datetime, *, attempt: int) -> None:
        """Record the delay of the slot."""
        if job in self.late_s or attempt != 1:
            raise RuntimeError(f"{job} was submitted twice")
        self.late_s[job] = (datetime.now(UTC) - slot).total_seconds()
        await self._connection.execute(
            "UPDATE job_runs SET state = 'succeeded', finished_at = now() "
            "WHERE job = %s AND slot = %s",
            (job, slot),
        )


async def slots(settings: Settings) -> Numbers:
    """Measure the delay of forty jobs that are due in the next full minute."""
    specs = [
        replace(job("cpi"), name=f"bench_{number:02}", schedule=Cron("* * * * *"))
        for number in range(DUE)
    ]
    dsn = settings.postgres_dsn()
    async with session(dsn, name="bench") as mine, session(dsn, name="runs") as theirs:
        claims, recorder = Slots(mine, takeover=timedelta(seconds=90)), Recorder(theirs)
        for one in specs:
            await claims.claim(one.name, datetime.now(UTC).replace(second=0, microsecond=0))
        await mine.execute("UPDATE job_runs SET state = 'succeeded'")
        scheduler = Scheduler(specs, claims, recorder, at_once=DUE, retries=0, retry_pause_s=60)
        deadline_s = time.monotonic() + PATIENCE_S
        while len(recorder.late_s) < DUE and time.monotonic() < deadline_s:
            await scheduler.tick(datetime.now(UTC))
            await asyncio.sleep(TICK_S)
    late_s = sorted(recorder.late_s.values())
    return {
        "lost": DUE - len(late_s), "first_s": late_s[0],
        "median_s": statistics.median(late_s), "most_s": late_s[-1],
    }  # fmt: skip


def _peak_mib() -> float:
    """Return the peak memory of this process."""
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(status["VmHWM"].split()[0]) / 1024


WORK = {"limiter": limiter, "sweep": sweep, "wide": wide, "slots": slots}

if __name__ == "__main__":
    print(json.dumps(uvloop.run(WORK[sys.argv[1]](load()))), flush=True)
