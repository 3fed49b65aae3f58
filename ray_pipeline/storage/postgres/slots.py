"""Slots in Postgres: the primary key of `job_runs` lets one scheduler claim each slot."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from ray_pipeline.schedules.due import Waiting, submission_id
from ray_pipeline.storage.postgres.connection import Connection

NEWEST = "SELECT job, max(slot) FROM job_runs WHERE trigger = 'schedule' GROUP BY job"
CLAIM = """
    INSERT INTO job_runs (job, slot, state, trigger, submission_id)
    VALUES (%s, %s, 'claimed', 'schedule', %s) ON CONFLICT (job, slot) DO NOTHING RETURNING job
"""
# A newer slot of a job replaces the older ones: only the newest is retried. A claim without a
# process, and a run without heartbeats, count as failed.
WAITING = """
    SELECT job, slot, attempt, state, finished_at, not_before
    FROM (SELECT DISTINCT ON (job) * FROM job_runs WHERE trigger = 'schedule'
          ORDER BY job, slot DESC) AS newest
    WHERE state IN ('deferred', 'failed')
       OR (state IN ('claimed', 'running') AND heartbeat_at < now() - %(takeover)s)
"""
AT_WORK = """
    SELECT job FROM job_runs
    WHERE state IN ('claimed', 'running') AND heartbeat_at > now() - %(takeover)s
"""
RESUBMIT = """
    UPDATE job_runs SET submission_id = %(submission)s, state = 'claimed', heartbeat_at = now(),
        attempt = attempt + 1
    WHERE job = %(job)s AND slot = %(slot)s AND attempt = %(attempt)s
      AND (state IN ('deferred', 'failed')
           OR (state IN ('claimed', 'running') AND heartbeat_at < now() - %(takeover)s))
    RETURNING attempt
"""
GIVE_UP = """
    UPDATE job_runs SET state = 'failed', finished_at = now(), why = %(why)s
    WHERE job = %(job)s AND slot = %(slot)s AND state = 'claimed'
"""
NOTE = """
    INSERT INTO findings (job, slot, "table", "check", detail)
    VALUES (%s, %s, 'job_runs', 'start', %s) ON CONFLICT DO NOTHING
"""
SUCCEEDED = "SELECT DISTINCT job FROM job_runs WHERE state IN ('succeeded', 'nothing_new')"


class Slots:
    """Claims slots over an autocommit connection."""

    def __init__(self, connection: Connection, *, takeover: timedelta) -> None:
        """A run without a heartbeat for `takeover` counts as dead."""
        self._connection = connection
        self._takeover = takeover

    async def newest(self) -> dict[str, datetime]:
        """Return each job's newest claimed slot."""
        cursor = await self._connection.execute(NEWEST)
        return {job: slot async for job, slot in cursor}

    async def succeeded(self) -> frozenset[str]:
        """Return the jobs that have succeeded at least once."""
        cursor = await self._connection.execute(SUCCEEDED)
        return frozenset([job async for (job,) in cursor])

    async def at_work(self) -> Sequence[str]:
        """Return the jobs that are claimed or running, one entry for each run."""
        cursor = await self._connection.execute(AT_WORK, {"takeover": self._takeover})
        return [job async for (job,) in cursor]

    async def claim(self, job: str, slot: datetime) -> bool:
        """Claim a slot; False if it is claimed already."""
        cursor = await self._connection.execute(CLAIM, (job, slot, submission_id(job, slot)))
        return await cursor.fetchone() is not None

    async def waiting(self) -> list[Waiting]:
        """Return the runs that may have to be retried."""
        cursor = await self._connection.execute(WAITING, {"takeover": self._takeover})
        return [Waiting(*row) async for row in cursor]

    async def claim_again(self, run: Waiting) -> int | None:
        """Claim a run again and return its attempt; None if another scheduler was faster."""
        values: Mapping[str, object] = {
            "job": run.job,
            "slot": run.slot,
            "attempt": run.attempt,
            "submission": submission_id(run.job, run.slot, run.attempt + 1),
            "takeover": self._takeover,
        }
        cursor = await self._connection.execute(RESUBMIT, values)
        row = await cursor.fetchone()
        return int(row[0]) if row else None

    async def give_up(self, job: str, slot: datetime, why: str) -> None:
        """Record that a claimed run could not be submitted."""
        await self._connection.execute(GIVE_UP, {"job": job, "slot": slot, "why": why[:500]})

    async def note(self, job: str, slot: datetime, text: str) -> None:
        """Record a remark about the start of a run as a finding."""
        await self._connection.execute(NOTE, (job, slot, text[:500]))
