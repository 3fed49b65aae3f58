"""A run: which sources collect, when it falls back, and how it ends."""

from datetime import timedelta

import pytest

from ray_pipeline.batch.permits import NotBefore
from ray_pipeline.batch.progress import ItemProgress
from ray_pipeline.batch.runner import run_job
from ray_pipeline.errors import ProviderUnavailable
from ray_pipeline.jobs.spec import WHOLE, Empty
from tests.batch_runs import NOW, RUN, FakePorts, Price, job, source

DOWN = ProviderUnavailable("connection refused")


@pytest.fixture
def ports() -> FakePorts:
    """Fakes that permit and answer every call."""
    return FakePorts()


async def test_the_first_source_with_a_key_collects(ports):
    spec = job(source("first", "A"), source("second", "A"))
    ports.keys = {"second": ["key"]}

    outcome = await run_job(spec, RUN, ports.dependencies())

    assert spec.usable_sources(ports.keys) == [spec.sources[1]]
    assert outcome.sources == ["second"]
    assert outcome.state == "succeeded"
    assert ports.store.pruned == 1


async def test_a_job_without_a_key_is_refused_and_says_where_keys_go(ports):
    ports.keys = {}

    outcome = await run_job(job(source("first", "A"), source("second")), RUN, ports.dependencies())

    assert outcome.state == "refused"
    assert outcome.why.startswith("no key for First or Second: add one to PIPELINE_API_KEYS")
    assert ports.fetcher.calls == []


async def test_a_source_that_refuses_everything_is_followed_by_the_next(ports):
    """A plan without this dataset, under HTTP 200; its refusals do not fail the run."""
    ports.fetcher.answers = {"first A": ["refuse:plan:not in your plan"]}

    outcome = await run_job(
        job(source("first", "A"), source("second", "A")), RUN, ports.dependencies()
    )

    assert ports.fetcher.calls == [("first", "A"), ("second", "A")]
    assert outcome.state == "succeeded"
    assert outcome.sources == ["first", "second"]


async def test_a_source_that_gives_something_is_not_followed(ports):
    """One refused item among others is that item's."""
    ports.fetcher.answers = {"first A": ["refuse:request:bad symbol"]}
    spec = job(source("first", "A", "B"), source("second", "A"))

    outcome = await run_job(spec, RUN, ports.dependencies())

    assert {name for name, _ in ports.fetcher.calls} == {"first"}
    assert (outcome.items_done, outcome.items_failed) == (1, 1)
    assert outcome.state == "failed"
    assert "A: refused: bad symbol" in outcome.why


async def test_a_complete_job_collects_from_every_source(ports):
    spec = job(source("first", "A"), source("second", "B"), complete=True)

    outcome = await run_job(spec, RUN, ports.dependencies())

    assert ports.fetcher.calls == [("first", "A"), ("second", "B")]
    assert outcome.items_done == 2


async def test_a_complete_job_that_lacks_a_source_is_not_green(ports):
    """The keys of one source are refused: the other source cannot replace its part."""
    ports.limiter.answers = [NotBefore(None, "every key was refused")]
    spec = job(source("first", "A"), source("second", "B"), complete=True)

    outcome = await run_job(spec, RUN, ports.dependencies())

    assert ports.fetcher.calls == [("second", "B")]
    assert outcome.state == "failed"
    assert "First: every key was refused" in outcome.why


async def test_refusals_of_all_sources_are_a_refused_run(ports):
    ports.fetcher.answers = {"A": ["refuse:plan:not in your plan"]}

    outcome = await run_job(
        job(source("first", "A"), source("second", "A")), RUN, ports.dependencies()
    )

    assert outcome.state == "refused"
    assert ports.store.pruned == 0


async def test_a_run_is_deferred_until_the_quota_has_room(ports):
    tomorrow = NOW + timedelta(days=1)
    ports.limiter.answers = [NotBefore(tomorrow, "25/day")]

    outcome = await run_job(job(source("first", "A")), RUN, ports.dependencies())

    assert (outcome.state, outcome.not_before) == ("deferred", tomorrow)
    assert outcome.why == "First: 25/day"
    assert ports.fetcher.calls == []


async def test_keys_that_all_were_refused_leave_the_work_to_the_next_source(ports):
    ports.limiter.answers = [NotBefore(None, "every key was refused")]

    outcome = await run_job(
        job(source("first", "A"), source("second", "A")), RUN, ports.dependencies()
    )

    assert ports.fetcher.calls == [("second", "A")]
    assert outcome.state == "succeeded"


async def test_the_last_source_without_a_usable_key_refuses_the_run(ports):
    ports.limiter.answers = [NotBefore(None, "every key was refused")]

    outcome = await run_job(job(source("first", "A")), RUN, ports.dependencies())

    assert (outcome.state, outcome.not_before) == ("refused", None)


async def test_a_provider_that_is_down_fails_the_run_after_a_few_items(ports):
    """The circuit breaker saves the calls of the other 95 items."""
    items = [f"I{number}" for number in range(100)]
    ports.fetcher.answers = {item: [DOWN] for item in items}

    outcome = await run_job(job(source("first", *items)), RUN, ports.dependencies())

    assert outcome.state == "failed"
    assert outcome.items_failed < 30
    assert len(ports.fetcher.calls) < 200


async def test_nothing_is_removed_after_a_collection_with_failures(ports):
    """An item that failed has not left the source's list."""
    ports.fetcher.answers = {"B": [DOWN]}

    outcome = await run_job(job(source("first", "A", "B")), RUN, ports.dependencies())

    assert (outcome.items_done, outcome.items_failed) == (1, 1)
    assert ports.store.pruned == 0


async def test_a_derived_dataset_is_stored_without_a_call(ports):
    spec = job(derive=lambda _run: [Price("A", 1), Price("B", 2)])

    outcome = await run_job(spec, RUN, ports.dependencies())

    assert outcome.state == "succeeded"
    assert (outcome.calls, outcome.counts.new) == (0, 2)
    assert ports.fetcher.calls == []


async def test_a_derived_dataset_without_rows_names_the_tables_it_needs(ports):
    spec = job(derive=lambda _run: [], depends=("companies",))

    outcome = await run_job(spec, RUN, ports.dependencies())

    assert outcome.state == "failed"
    assert outcome.why == "the tables it is made from are empty: companies"


@pytest.mark.parametrize("empty", [Empty.SOMETIMES, Empty.UNKNOWN])
async def test_a_run_in_which_no_item_has_rows_is_refused(ports, empty):
    """Its items are requested again by the next run."""
    ports.fetcher.answers = {"A": ["[]"], "B": ["[]"]}

    outcome = await run_job(job(source("first", "A", "B", empty=empty)), RUN, ports.dependencies())

    assert outcome.state == "refused"
    assert (outcome.items_done, outcome.items_failed) == (0, 2)
    assert "2 of 2 items failed: A: the answer has no data" in outcome.why
    assert sorted(ports.store.reopened) == ["A", "B"]
    assert ports.store.pruned == 0


async def test_a_run_in_which_a_part_of_the_items_has_no_rows_succeeds(ports):
    ports.fetcher.answers = {"A": ["[]"], "B": ["[5]"]}
    of = source("first", "A", "B", empty=Empty.SOMETIMES)

    outcome = await run_job(job(of), RUN, ports.dependencies())

    assert (outcome.state, outcome.items_done) == ("succeeded", 2)
    assert ports.store.reopened == []


async def test_rows_of_an_interrupted_run_count(ports):
    """The run goes on with the last item, which has no rows."""
    ports.store.progress = {"A": ItemProgress("done", done_at=NOW)}
    ports.fetcher.answers = {"B": ["[]"]}
    of = source("first", "A", "B", empty=Empty.SOMETIMES)

    outcome = await run_job(job(of), RUN, ports.dependencies())

    assert outcome.state == "nothing_new"


async def test_a_quiet_run_of_a_dataset_that_may_be_empty_is_green(ports):
    ports.fetcher.answers = {"A": ["[]"]}

    outcome = await run_job(job(source("first", "A")), RUN, ports.dependencies())

    assert (outcome.state, outcome.why) == ("nothing_new", "")


EMPTY_ANSWERS = {
    "no row": "[]",
    "an object in place of the list": "{}",
    "an error in place of the list": '{"error": "no"}',
    "nothing readable": '["x"]',
    "a refusal": "refuse:request:no",
    "not found": "refuse:not_found:no",
}


@pytest.mark.parametrize("text", EMPTY_ANSWERS.values(), ids=EMPTY_ANSWERS)
async def test_an_answer_without_its_data_is_followed_by_the_next_source(ports, text):
    """The next source has it; without another source, the run is not green."""
    ports.fetcher.answers = {"first A": [text]}
    first, second = (source(name, "A", empty=Empty.FAILURE) for name in ("first", "second"))

    both = await run_job(job(first, second), RUN, ports.dependencies())
    alone = await run_job(job(first), RUN, ports.dependencies())

    assert (both.state, both.sources) == ("succeeded", ["first", "second"])
    assert alone.state in {"refused", "failed"}
    assert alone.why


async def test_an_incomplete_answer_is_followed_by_the_next_source(ports):
    ports.store.sizes = {("A", 0): 4}
    first = source("first", "A", empty=Empty.FAILURE, least=WHOLE)

    outcome = await run_job(job(first, source("second", "A")), RUN, ports.dependencies())

    assert (outcome.state, outcome.sources) == ("succeeded", ["first", "second"])
    assert [result.state for result in ports.store.results] == ["failed", "done"]


async def test_rows_are_removed_after_another_source_has_replaced_the_first(ports):
    """The list of the second source is complete."""
    ports.fetcher.answers = {"first A": ["refuse:plan:no"]}

    await run_job(job(source("first", "A"), source("second", "A")), RUN, ports.dependencies())

    assert ports.store.pruned == 1
