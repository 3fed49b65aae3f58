"""The table `job_runs`: claims a slot for a run, records its heartbeat, and how it ended."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any, LiteralString

from psycopg.rows import dict_row

from ray_pipeline.batch.call_count import CallCount
from ray_pipeline.batch.outcome import Outcome
from ray_pipeline.errors import Overlap
from ray_pipeline.storage.postgres.connection import Connection

# A job has one run at a time, whatever the slot: a run with a fresh heartbeat excludes others.
BUSY = """
    SELECT slot, holder FROM job_runs
    WHERE job = %(job)s AND state = 'running' AND heartbeat_at > now() - %(takeover)s
      AND holder <> %(holder)s
    LIMIT 1
"""
# The process of an earlier attempt may start late: after a later attempt has collected the slot.
COLLECTED = """
    SELECT state FROM job_runs
    WHERE job = %(job)s AND slot = %(slot)s AND state IN ('succeeded', 'nothing_new', 'refused')
"""
BEGIN = """
    INSERT INTO job_runs AS run (job, slot, state, trigger, holder, started_at)
    VALUES (%(job)s, %(slot)s, 'running', %(trigger)s, %(holder)s, now())
    ON CONFLICT (job, slot) DO UPDATE
    SET state = 'running', holder = excluded.holder, started_at = now(), heartbeat_at = now(),
        finished_at = NULL, not_before = NULL, why = '', items = 0, items_done = 0,
        attempt = run.attempt + (run.state <> 'claimed')::integer
    RETURNING attempt
"""
BEAT = """
    UPDATE job_runs SET heartbeat_at = now(), calls = calls + %(calls)s
    WHERE job = %(job)s AND slot = %(slot)s AND holder = %(holder)s AND state = 'running'
"""
FINISH = """
    UPDATE job_runs SET state = %(state)s, why = %(why)s, not_before = %(not_before)s,
        items = %(items)s, sources = %(sources)s, calls = calls + %(calls)s, finished_at = now(),
        heartbeat_at = now()
    WHERE job = %(job)s AND slot = %(slot)s AND holder = %(holder)s AND state = 'running'
"""
# Without a condition on the holder: another process may have taken the run over.
ADD_CALLS = "UPDATE job_runs SET calls = calls + %s WHERE job = %s AND slot = %s"
FORGET = "DELETE FROM job_items WHERE job = %s AND cycle = %s"


@dataclass(frozen=True, slots=True)
class RunKey:
    """A run: the job, the slot, and the process that holds it."""

    job: str
    slot: datetime
    holder: str


class RunBook:
    """Runs in Postgres, on an autocommit connection."""

    def __init__(
        self, connection: Connection, *, takeover: timedelta, calls: CallCount | None = None
    ) -> None:
        """
        Count the `calls` of this process's run.

        A run without a heartbeat for `takeover` may be taken over.
        """
        self._connection = connection
        self._takeover = takeover
        self._calls = calls or CallCount()

    async def begin(self, key: RunKey, *, trigger: str) -> int:
        """
        Claim a slot, and return the number of the attempt.

        Raises:
            Overlap: If another run of the job is in progress, or if the scheduler's slot was
                collected meanwhile.
        """
        values = {
            "job": key.job,
            "slot": key.slot,
            "holder": key.holder,
            "trigger": trigger,
            "takeover": self._takeover,
        }
        async with self._connection.transaction():
            # Of two runs that begin at once, the second waits here and then sees the first.
            await self._connection.execute(
                "SELECT pg_advisory_xact_lock(hashtext('job run'), hashtext(%s))", (key.job,)
            )
            cursor = await self._connection.execute(BUSY, values)
            busy = await cursor.fetchone()
            if busy is not None:
                raise Overlap(
                    f"job {key.job} is running already, for slot {busy[0].isoformat()}",
                    fix="wait for it; `ray-pipeline status` shows it. One whose process is dead is "
                    f"taken over {self._takeover.total_seconds():g} s after its last sign of life",
                )
            if trigger == "schedule":
                await self._refuse_collected(key, values)
            cursor = await self._connection.execute(BEGIN, values)
            row = await cursor.fetchone()
        assert row is not None
        return int(row[0])

    async def _refuse_collected(self, key: RunKey, values: Mapping[str, object]) -> None:
        cursor = await self._connection.execute(COLLECTED, values)
        row = await cursor.fetchone()
        if row is not None:
            raise Overlap(
                f"the run of job {key.job} for slot {key.slot.isoformat()} ended already: {row[0]}",
                fix="nothing: a later attempt was faster than this one. "
                f"`ray-pipeline run {key.job} --slot` repeats it",
            )

    async def beat(self, key: RunKey) -> bool:
        """
        Record a heartbeat and the calls so far; return False if another process has taken the run
        over.
        """
        return await self._update(BEAT, key, {})

    async def finish(self, key: RunKey, outcome: Outcome) -> bool:
        """
        Record how the run ended and its calls; return False if another process has taken it over.
        """
        return await self._update(
            FINISH,
            key,
            {
                "state": outcome.state,
                "why": outcome.why[:1000],
                "not_before": outcome.not_before,
                "items": outcome.items,
                "sources": outcome.sources,
            },
        )

    async def add_calls(self, key: RunKey) -> None:
        """Record the calls of this process, whichever process holds the run."""
        with self._calls.unstored() as calls:
            await self._connection.execute(ADD_CALLS, (calls, key.job, key.slot))

    async def _update(
        self, statement: LiteralString, key: RunKey, values: Mapping[str, object]
    ) -> bool:
        with self._calls.unstored() as calls:
            cursor = await self._connection.execute(
                statement, {**values, **asdict(key), "calls": calls}
            )
            if cursor.rowcount == 0:
                await self._connection.execute(ADD_CALLS, (calls, key.job, key.slot))
        return cursor.rowcount == 1

    async def forget(self, job: str, cycle: datetime) -> None:
        """Delete the progress of a cycle, so that every item is requested again."""
        await self._connection.execute(FORGET, (job, cycle))


RECENT = """
    SELECT job, slot, attempt, state, trigger, claimed_at, started_at, finished_at, heartbeat_at,
           not_before, items, items_done, calls, rows_seen, rows_new, rows_changed, rows_parked,
           sources, why, submission_id
    FROM job_runs WHERE (%(job)s::text IS NULL OR job = %(job)s)
    ORDER BY claimed_at DESC LIMIT %(limit)s
"""
LAST = """
    SELECT DISTINCT ON (job) job, slot, state, why, finished_at, not_before, rows_new, rows_changed,
           items, items_done, attempt, started_at, heartbeat_at
    FROM job_runs ORDER BY job, slot DESC
"""


async def recent_runs(
    connection: Connection, *, job: str | None = None, limit: int = 50
) -> list[Mapping[str, Any]]:
    """Return the newest runs."""
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(RECENT, {"job": job, "limit": limit})
        return list(await cursor.fetchall())


async def last_runs(connection: Connection) -> dict[str, Mapping[str, Any]]:
    """Return each job's newest run, by job."""
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(LAST)
        return {row["job"]: row for row in await cursor.fetchall()}
