"""The scheduler actor as a plain class: of many, one submits, and a dead one is replaced."""

from datetime import datetime, timedelta

import psycopg
import pytest

from ray_pipeline.actors.scheduler import SchedulerActor
from ray_pipeline.settings import Settings, load
from tests.support import eventually

JOB = "cpi"
TTL_S = 1.5


class Recorder:
    """Accepts every run and starts none."""

    def __init__(self) -> None:
        self.submitted: list[tuple[str, datetime, int]] = []

    async def submit(self, job: str, slot: datetime, *, attempt: int) -> str:
        self.submitted.append((job, slot, attempt))
        return ""


@pytest.fixture
def settings(postgres_dsn) -> Settings:
    return load(
        postgres={"dsn": postgres_dsn},
        api_keys={"fred": ["key"]},
        jobs={"only": (JOB,), "takeover_s": 3600, "at_once": 4},
        streams={"lease_ttl_s": TTL_S},
    )


async def cause_of(actor: SchedulerActor) -> object:
    return (await actor.status())["cause"]


async def test_of_two_schedulers_one_submits_and_the_other_replaces_it(settings, postgres_dsn):
    """The second waits for the lease, and does not submit what the first submitted."""
    recorders = [Recorder(), Recorder()]
    first, second = [SchedulerActor(settings, recorder) for recorder in recorders]

    await eventually(lambda: sum(len(each.submitted) for each in recorders) == 1)
    active, waiting = (first, second) if recorders[0].submitted else (second, first)
    assert await cause_of(waiting) == "waiting for the lease"
    assert await active.stop(5)

    async def takes_over() -> bool:
        return await cause_of(waiting) == ""

    await eventually(takes_over)
    assert sum(len(each.submitted) for each in recorders) == 1
    assert await waiting.stop(5)


async def test_a_scheduler_names_an_outage_and_continues_after_it(own_postgres):
    """A run that became due during the outage is submitted after it."""
    recorder = Recorder()
    actor = SchedulerActor(
        load(
            postgres={"dsn": own_postgres.dsn},
            api_keys={"fred": ["key"]},
            jobs={"only": (JOB,), "takeover_s": 3600},
            streams={"lease_ttl_s": TTL_S},
        ),
        recorder,
    )
    await eventually(lambda: len(recorder.submitted) == 1)
    own_postgres.stop()

    async def names_it() -> bool:
        return bool(await cause_of(actor))

    await eventually(names_it)
    own_postgres.start()
    with psycopg.connect(own_postgres.dsn, autocommit=True) as connection:
        connection.execute(
            "UPDATE job_runs SET state = 'failed', finished_at = now() - %s",
            (timedelta(days=1),),
        )

    await eventually(lambda: len(recorder.submitted) == 2)
    assert recorder.submitted[1][2] == recorder.submitted[0][2] + 1
    assert await actor.stop(5)
