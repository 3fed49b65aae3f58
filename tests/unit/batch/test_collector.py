"""One source's items: what is stored together, what is asked alone, and when it stops."""

from dataclasses import replace
from datetime import timedelta

import pytest

from ray_pipeline.batch.attempts import LARGEST_BYTES, Deferred
from ray_pipeline.batch.circuit_breaker import CircuitOpen
from ray_pipeline.batch.collector import FAILURE_LIMIT, SMALL_BYTES, SourceCollector, is_scarce
from ray_pipeline.batch.outcome import Outcome
from ray_pipeline.batch.permits import NotBefore
from ray_pipeline.batch.progress import ItemProgress
from ray_pipeline.errors import AnswerTooLarge
from ray_pipeline.jobs.spec import Request, Source
from ray_pipeline.providers.quota import MINUTE, Quota, Window
from tests.batch_runs import NOW, PLENTY, RUN, SCARCE, FakePorts, job, provider, source

ITEMS = [f"I{number}" for number in range(40)]


@pytest.fixture
def ports() -> FakePorts:
    """Fakes that permit and answer every call."""
    return FakePorts()


def collector(ports: FakePorts, of: Source) -> tuple[SourceCollector, Outcome]:
    outcome = Outcome(sources=[of.provider.name])
    spec = job(of)
    collector = SourceCollector(spec, RUN, of, dependencies=ports.dependencies(), outcome=outcome)
    return collector, outcome


async def test_every_item_is_stored_once(ports):
    collect, outcome = collector(ports, source("first", *ITEMS))

    await collect.run()

    assert sorted(result.request.item for result in ports.store.results) == sorted(ITEMS)
    assert (outcome.items, outcome.items_done, outcome.calls) == (40, 40, 40)
    assert ports.store.announced == [(40, ["first"])]
    assert ports.limiter.permitted == 40


async def test_a_scarce_call_is_stored_before_the_next_is_made(ports):
    """One transaction a call, so that a crash loses one call of the day."""
    collect, _ = collector(ports, source("first", "A", "B", "C", quota=SCARCE))
    made_before: list[int] = []
    save = ports.store.save

    async def save_and_count(name, results):
        made_before.append(len(ports.fetcher.calls))
        return await save(name, results)

    ports.store.save = save_and_count

    await collect.run()

    assert made_before == [1, 2, 3]
    assert [len(transaction) for transaction in ports.store.transactions] == [1, 1, 1]


async def test_a_large_answer_is_requested_again_alone(ports):
    ports.fetcher.answers = {"I3": [AnswerTooLarge("600 KiB"), "[5]"]}
    collect, outcome = collector(ports, source("first", *ITEMS))

    await collect.run()

    assert ports.fetcher.calls[-1] == ("first", "I3")
    assert ports.fetcher.sizes == [SMALL_BYTES] * 40 + [LARGEST_BYTES]
    assert ports.store.states()["I3"] == "done"
    assert (outcome.items_done, outcome.calls) == (40, 41)


async def test_pages_of_an_item_are_stored_one_after_the_other(ports):
    def follow(_body, request, _run):
        return replace(request, page=request.page + 1) if request.page < 2 else None

    collect, outcome = collector(ports, replace(source("first", "A"), follow=follow))

    await collect.run()

    assert [result.state for result in ports.store.results] == ["paging", "paging", "done"]
    assert outcome.items_done == 1


async def test_a_run_resumes_the_page_that_was_in_flight(ports):
    second_page = Request("A", "/A", page=1)
    ports.store.progress = {"A": ItemProgress("paging", next=second_page)}
    collect, _ = collector(ports, source("first", "A", "B", quota=SCARCE))

    await collect.run()

    assert [result.request for result in ports.store.results] == [second_page, Request("B", "/B")]


async def test_failures_in_a_row_open_the_circuit(ports):
    ports.fetcher.answers = {item: ["refuse:plan:no"] for item in ITEMS}
    collect, outcome = collector(ports, source("first", *ITEMS, quota=SCARCE))

    with pytest.raises(CircuitOpen, match="First fails for every item: refused: no"):
        await collect.run()

    assert outcome.items_failed == len(ports.fetcher.calls) == FAILURE_LIMIT
    assert collect.refusals[0] == "I0: refused: no"
    assert collect.failures == []


async def test_unreadable_answers_do_not_open_the_circuit(ports):
    """Also the form of every answer may change; the provider works all the same."""
    bad = ITEMS[:20]
    ports.fetcher.answers = {
        item: ['{"no": "list"}', "[1, "][number % 2 :] for number, item in enumerate(bad)
    }
    collect, outcome = collector(ports, source("first", *ITEMS, quota=SCARCE))

    await collect.run()

    assert (outcome.items_failed, outcome.items_done) == (20, 20)
    assert collect.refusals == []


async def test_a_run_that_can_only_wait_for_failed_items_fails(ports):
    until = NOW + timedelta(days=2)
    ports.store.progress = {"A": ItemProgress("failed", attempts=3, not_before=until)}
    collect, _ = collector(ports, source("first", "A"))

    await collect.run()

    assert ports.fetcher.calls == []
    assert collect.failures == [
        "1 items failed before; the next attempt is due at 2026-03-04 06:00 UTC"
    ]


async def test_calls_of_a_deferred_run_are_counted(ports):
    """Also those of the item that has no result."""
    ports.limiter.answers = []
    ports.fetcher.answers = {"I1": ["refuse:quota:used up"]}
    acquire = ports.limiter.acquire

    async def until_refused(name, *, job, sweep, calls=1):
        if ports.limiter.cooldowns:
            return NotBefore(NOW + timedelta(days=1), "used up")
        return await acquire(name, job=job, sweep=sweep, calls=calls)

    ports.limiter.acquire = until_refused
    collect, outcome = collector(ports, source("first", *ITEMS, quota=SCARCE))

    with pytest.raises(Deferred):
        await collect.run()

    assert outcome.calls == len(ports.fetcher.calls) == 2


async def test_a_success_between_failures_keeps_the_circuit_closed(ports):
    bad = [item for number, item in enumerate(ITEMS) if number % FAILURE_LIMIT]
    ports.fetcher.answers = {item: ["refuse:request:no"] for item in bad}
    collect, outcome = collector(ports, source("first", *ITEMS, quota=SCARCE))

    await collect.run()

    assert outcome.items_failed == len(bad)


async def test_what_was_in_flight_is_stored_before_a_deferral(ports):
    """Each permitted call is made and stored; the others are left to the next run."""
    until = NOW + timedelta(days=1)
    collect, _ = collector(ports, source("first", *ITEMS))
    acquire = ports.limiter.acquire

    async def some(name, *, job, sweep, calls=1):
        if ports.limiter.permitted >= 5:
            return NotBefore(until, "1000/s")
        return await acquire(name, job=job, sweep=sweep, calls=1)

    ports.limiter.acquire = some

    with pytest.raises(Deferred) as deferral:
        await collect.run()

    assert deferral.value.until == until
    assert len(ports.store.results) == len(ports.fetcher.calls) == ports.limiter.permitted == 5


@pytest.mark.parametrize(
    ("quota", "scarce"),
    [
        (PLENTY, False),
        (SCARCE, True),
        (Quota(), False),
        (Quota((Window(60, MINUTE),)), False),
        (Quota((Window(1, 15 * MINUTE),)), True),
        (Quota((Window(60, MINUTE), Window(10_000, reset="month"))), True),
    ],
)
def test_calls_that_a_day_counts_are_scarce(quota, scarce):
    assert is_scarce(provider("first", quota)) is scarce
