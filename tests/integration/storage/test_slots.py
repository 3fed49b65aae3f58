"""Slots on a real Postgres: each is claimed once, by any number of schedulers."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from ray_pipeline.batch.outcome import Outcome
from ray_pipeline.errors import Overlap
from ray_pipeline.storage.postgres.connection import session
from ray_pipeline.storage.postgres.runs import RunBook, RunKey
from ray_pipeline.storage.postgres.slots import Slots
from tests.support import scalar

SLOT = datetime(2026, 11, 2, 6, tzinfo=UTC)
HOUR = timedelta(hours=1)
TAKEOVER = timedelta(seconds=90)


@pytest.fixture
async def connection(postgres_dsn):
    async with session(postgres_dsn, name="test") as connection:
        yield connection


@pytest.fixture
def slots(connection) -> Slots:
    return Slots(connection, takeover=TAKEOVER)


async def test_one_of_many_schedulers_claims_a_slot(postgres_dsn):
    """The primary key decides."""

    async def claim() -> bool:
        async with session(postgres_dsn, name="test") as connection:
            return await Slots(connection, takeover=TAKEOVER).claim("cpi", SLOT)

    assert sorted(await asyncio.gather(*(claim() for _ in range(8)))) == [False] * 7 + [True]


async def test_only_the_newest_slot_of_a_job_is_retried(slots, connection):
    """A newer slot replaces a failed older one."""
    await slots.claim("cpi", SLOT)
    await slots.give_up("cpi", SLOT, "no cluster")
    assert [run.slot for run in await slots.waiting()] == [SLOT]

    await slots.claim("cpi", SLOT + HOUR)

    assert await slots.waiting() == []
    assert await slots.newest() == {"cpi": SLOT + HOUR}


async def test_a_run_without_heartbeats_is_retried_and_no_longer_at_work(slots, connection):
    """A process that was killed says nothing."""
    await slots.claim("cpi", SLOT)
    assert await slots.at_work() == ["cpi"]
    assert await slots.waiting() == []

    await connection.execute("UPDATE job_runs SET heartbeat_at = now() - interval '91 s'")

    assert await slots.at_work() == []
    assert [run.job for run in await slots.waiting()] == ["cpi"]


async def test_one_of_two_schedulers_claims_a_run_again(slots):
    """The second sees that the attempt has changed."""
    await slots.claim("cpi", SLOT)
    await slots.give_up("cpi", SLOT, "no cluster")
    (run,) = await slots.waiting()

    assert await slots.claim_again(run) == run.attempt + 1
    assert await slots.claim_again(run) is None


async def test_a_run_that_ended_meanwhile_is_not_claimed_again(slots, connection):
    """A scheduler that was suspended knows a run as dead that has woken up and succeeded."""
    await slots.claim("cpi", SLOT)
    await connection.execute("UPDATE job_runs SET heartbeat_at = now() - interval '91 s'")
    (run,) = await slots.waiting()
    await connection.execute("UPDATE job_runs SET state = 'succeeded'")

    assert await slots.claim_again(run) is None


async def test_a_process_that_starts_late_does_not_repeat_a_collected_slot(slots, connection):
    """A later attempt has succeeded meanwhile. By hand, the same slot can be repeated."""
    await slots.claim("cpi", SLOT)
    book = RunBook(connection, takeover=TAKEOVER)
    later = RunKey("cpi", SLOT, "later")
    await book.begin(later, trigger="schedule")
    assert await book.finish(later, Outcome("succeeded"))

    late = RunKey("cpi", SLOT, "late")
    with pytest.raises(Overlap, match="ended already: succeeded"):
        await book.begin(late, trigger="schedule")

    assert await scalar(connection, "SELECT state FROM job_runs") == "succeeded"
    assert await book.begin(late, trigger="hand") == 2


async def test_a_long_reason_is_shortened(slots, connection):
    """The table shows it in one line."""
    await slots.claim("cpi", SLOT)

    await slots.give_up("cpi", SLOT, "x" * 5_000)

    assert await scalar(connection, "SELECT length(why) FROM job_runs") == 500


async def test_jobs_that_succeeded_are_known(slots, connection):
    """An empty success counts; a failure does not."""
    for job, state in (("cpi", "succeeded"), ("inflation", "nothing_new"), ("etf", "failed")):
        await slots.claim(job, SLOT)
        await connection.execute("UPDATE job_runs SET state = %s WHERE job = %s", (state, job))

    assert await slots.succeeded() == {"cpi", "inflation"}
