"""The scheduler: every slot once, in order, never two runs of one job."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from ray_pipeline.batch.slot_scheduler import Scheduler
from ray_pipeline.errors import PipelineError
from ray_pipeline.jobs.spec import CatchUp, JobSpec
from ray_pipeline.schedules.cron import Cron
from ray_pipeline.schedules.due import Waiting

START = datetime(2026, 11, 23, 12, 0, 30, tzinfo=UTC)


class Book:
    """Slots in memory, with the promises of the real one."""

    def __init__(self) -> None:
        self.runs: dict[tuple[str, datetime], Waiting] = {}
        self.notes: list[tuple[str, datetime, str]] = []

    async def note(self, job: str, slot: datetime, text: str) -> None:
        self.notes.append((job, slot, text))

    async def newest(self) -> dict[str, datetime]:
        found: dict[str, datetime] = {}
        for job, slot in self.runs:
            found[job] = max(slot, found.get(job, slot))
        return found

    async def succeeded(self) -> frozenset[str]:
        return frozenset(run.job for run in self.runs.values() if run.state == "succeeded")

    async def at_work(self) -> Sequence[str]:
        return [run.job for run in self.runs.values() if run.state == "claimed"]

    async def claim(self, job: str, slot: datetime) -> bool:
        if (job, slot) in self.runs:
            return False
        self.runs[job, slot] = Waiting(job, slot, 1, "claimed", None, None)
        return True

    async def waiting(self) -> Sequence[Waiting]:
        newest = await self.newest()
        return [
            run
            for run in self.runs.values()
            if run.state in {"deferred", "failed"} and newest[run.job] == run.slot
        ]

    async def claim_again(self, run: Waiting) -> int | None:
        again = Waiting(run.job, run.slot, run.attempt + 1, "claimed", None, None)
        self.runs[run.job, run.slot] = again
        return again.attempt

    async def give_up(self, job: str, slot: datetime, why: str) -> None:
        self.end(job, slot, "failed", START)

    def end(
        self,
        job: str,
        slot: datetime,
        state: str,
        at: datetime,
        *,
        not_before: datetime | None = None,
    ) -> None:
        run = self.runs[job, slot]
        self.runs[job, slot] = Waiting(job, slot, run.attempt, state, at, not_before)


class Submitter:
    """Notes what it was asked to start."""

    def __init__(self, *, broken: bool = False, remark: str = "") -> None:
        self.started: list[tuple[str, datetime, int]] = []
        self.broken = broken
        self.remark = remark

    async def submit(self, job: str, slot: datetime, *, attempt: int) -> str:
        if self.broken:
            raise PipelineError("no dashboard")
        self.started.append((job, slot, attempt))
        return self.remark


def spec(name: str, cron: str = "0 * * * *", catch_up: CatchUp = "latest", **options) -> JobSpec:
    return JobSpec(name, name, (), Cron(cron), catch_up=catch_up, **options)


def scheduler(
    specs: list[JobSpec], book: Book, submitter: Submitter, at_once: int = 9
) -> Scheduler:
    return Scheduler(specs, book, submitter, at_once=at_once, retries=2, retry_pause_s=60)


async def test_a_slot_is_submitted_once_however_often_one_looks():
    """And the next one when it is due."""
    book, submitter = Book(), Submitter()
    one = scheduler([spec("a")], book, submitter)

    for second in range(120):
        await one.tick(START + timedelta(seconds=second))
    for job, slot in list(book.runs):
        book.end(job, slot, "succeeded", START)
    await one.tick(START + timedelta(hours=1))

    noon = START.replace(second=0)
    assert submitter.started == [("a", noon, 1), ("a", noon + timedelta(hours=1), 1)]


async def test_two_schedulers_submit_no_slot_twice():
    """As in the moment in which a lease changes hands."""
    book, submitter = Book(), Submitter()
    both = [scheduler([spec("a"), spec("b")], book, submitter) for _ in range(2)]

    for one in both:
        await one.tick(START)

    assert sorted(job for job, _, _ in submitter.started) == ["a", "b"]


async def test_a_job_that_still_runs_is_not_started_again():
    """Its next slot waits for it."""
    book, submitter = Book(), Submitter()
    one = scheduler([spec("a")], book, submitter)

    await one.tick(START)
    await one.tick(START + timedelta(hours=1))
    waited = len(submitter.started)
    book.end("a", START.replace(second=0), "succeeded", START)
    await one.tick(START + timedelta(hours=1, minutes=1))

    assert waited == 1
    assert len(submitter.started) == 2


async def test_a_job_that_is_retried_is_not_started_for_a_newer_slot_in_the_same_tick():
    """Two runs of a job would be in progress, and the second would give up its slot."""
    book, submitter = Book(), Submitter()
    hourly = scheduler([spec("a", catch_up="all")], book, submitter)
    await hourly.tick(START)
    (slot,) = (slot for _, slot, _ in submitter.started)
    book.end("a", slot, "failed", START)

    await hourly.tick(START + timedelta(hours=1))
    retried = list(submitter.started)
    book.end("a", slot, "succeeded", START + timedelta(hours=1))
    await hourly.tick(START + timedelta(hours=1, seconds=1))

    assert retried == [("a", slot, 1), ("a", slot, 2)]
    assert submitter.started[2:] == [("a", slot + timedelta(hours=1), 1)]


async def test_no_more_runs_at_once_than_may_be():
    """Forty jobs in one minute: two now, the others one by one, none lost."""
    book, submitter = Book(), Submitter()
    specs = [spec(f"job{number:02}") for number in range(40)]
    one = scheduler(specs, book, submitter, at_once=2)

    for _ in range(40):
        await one.tick(START)
        working = await book.at_work()
        assert len(working) <= 2
        for job in working:
            book.end(job, START.replace(second=0), "succeeded", START)

    assert sorted(job for job, _, _ in submitter.started) == [spec.name for spec in specs]


async def test_a_deferred_run_goes_on_when_its_time_has_come():
    """For the same slot, as another attempt."""
    book, submitter = Book(), Submitter()
    one = scheduler([spec("a", "0 0 1 1 *")], book, submitter)
    await one.tick(START)
    slot = submitter.started[0][1]
    book.end("a", slot, "deferred", START, not_before=START + timedelta(hours=3))

    await one.tick(START + timedelta(hours=2))
    early = len(submitter.started)
    await one.tick(START + timedelta(hours=3))

    assert early == 1
    assert submitter.started[1] == ("a", slot, 2)


async def test_a_failed_run_is_tried_again_a_few_times():
    """The pause doubles; in the end it waits for the next slot."""
    book, submitter = Book(), Submitter()
    one = scheduler([spec("a", "0 0 1 1 *")], book, submitter)
    now = START
    for _ in range(600):
        await one.tick(now)
        for job in await book.at_work():
            book.end(job, submitter.started[0][1], "failed", now)
        now += timedelta(seconds=10)

    assert [attempt for _, _, attempt in submitter.started] == [1, 2, 3]


async def test_what_cannot_be_submitted_is_written_down():
    """It counts as an attempt, and the others go on."""
    book, submitter = Book(), Submitter(broken=True)

    submitted = await scheduler([spec("a"), spec("b")], book, submitter).tick(START)

    assert submitted == 0
    assert {run.state for run in book.runs.values()} == {"failed"}


async def test_a_job_waits_for_the_first_collection_of_what_it_reads():
    """Later it does not: yesterday's list of companies is good enough."""
    book, submitter = Book(), Submitter()
    one = scheduler([spec("news", depends=("companies",)), spec("companies")], book, submitter)

    await one.tick(START)
    first = [job for job, _, _ in submitter.started]
    book.end("companies", START.replace(second=0), "succeeded", START)
    await one.tick(START)
    book.end("news", START.replace(second=0), "succeeded", START)
    submitter.started.clear()
    await one.tick(START + timedelta(hours=1))

    assert first == ["companies"]
    assert sorted(job for job, _, _ in submitter.started) == ["companies", "news"]


async def test_a_manual_job_is_never_due():
    """It runs on request only."""
    book, submitter = Book(), Submitter()

    await scheduler([spec("a", manual=True)], book, submitter).tick(START)

    assert not submitter.started


@given(pauses_s=st.lists(st.integers(1, 20_000), min_size=1, max_size=30))
async def test_with_catch_up_no_slot_is_ever_missed(pauses_s):
    """However long the scheduler was away, and however slowly it makes up for it."""
    book, submitter = Book(), Submitter()
    one = scheduler([spec("a", catch_up="all")], book, submitter)
    await one.tick(START)
    now = START
    for pause_s in [*pauses_s, *[1] * 400]:
        for job, slot in list(book.runs):
            book.end(job, slot, "succeeded", now)
        now += timedelta(seconds=pause_s)
        await one.tick(now)

    slots = [slot for _, slot, _ in submitter.started]
    want = list(Cron("0 * * * *").between(START - timedelta(hours=1), now))
    assert slots == want[-len(slots) :]
    assert len(slots) == len(want)


async def test_a_run_that_was_started_in_another_way_is_noted():
    """Somebody looks for it among the Ray jobs, and does not find it there."""
    for remark, notes in (
        ("as a process", [("a", START.replace(second=0), "as a process")]),
        ("", []),
    ):
        book = Book()

        await scheduler([spec("a")], book, Submitter(remark=remark)).tick(START)

        assert book.notes == notes
