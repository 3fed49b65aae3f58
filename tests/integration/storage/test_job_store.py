"""The progress of a sweep over many days, in Postgres."""

import contextlib
from collections.abc import AsyncIterator
from datetime import timedelta
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ray_pipeline.batch.circuit_breaker import CircuitOpen
from ray_pipeline.batch.collector import SourceCollector
from ray_pipeline.batch.outcome import Outcome
from ray_pipeline.batch.progress import EPOCH
from ray_pipeline.batch.results import Collected
from ray_pipeline.batch.run_ports import Dependencies
from ray_pipeline.errors import OwnershipLost
from ray_pipeline.jobs.spec import Request, Unparsed
from ray_pipeline.storage.postgres.bad_data import is_bad_data
from ray_pipeline.storage.postgres.connection import Connection, session
from ray_pipeline.storage.postgres.job_dead_letters import MOST_PARTS
from ray_pipeline.storage.postgres.job_store import JobStore
from tests.batch_runs import RUN, SCARCE, FakePorts, Price, job, source

ITEMS = [f"I{number:02}" for number in range(15)]
A_DAY = 5  # items
DAYS = 30


@pytest.fixture
async def connection(postgres_dsn) -> AsyncIterator[Connection]:
    """A connection to a database with a table of prices."""
    async with session(postgres_dsn, name="test") as connection:
        await connection.execute("CREATE TABLE prices (symbol varchar(10) PRIMARY KEY, price int)")
        yield connection


def sweep(**options):
    return job(source("first", *ITEMS, quota=SCARCE), refresh=timedelta(days=90), **options)


async def run_day(connection: Connection, spec, ports: FakePorts) -> None:
    """Run a sweep once, then let a day pass."""
    store = JobStore(connection, spec, RUN, EPOCH)
    now = await (await connection.execute("SELECT now()")).fetchone()
    dependencies = Dependencies(
        store=store,
        limiter=ports.limiter,
        fetcher=ports.fetcher,
        keys=ports.keys,
        clock=lambda: now[0],
        sleep=ports.clock.sleep,
        random=Random(1),
    )
    collector = SourceCollector(
        spec, RUN, spec.sources[0], dependencies=dependencies, outcome=Outcome(sources=["first"])
    )
    with contextlib.suppress(CircuitOpen):
        await collector.run()
    await connection.execute(
        "UPDATE job_items SET done_at = done_at - interval '1 day', "
        "not_before = not_before - interval '1 day', updated_at = updated_at - interval '1 day'"
    )


@settings(
    max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)
@given(
    bad=st.sets(st.sampled_from(ITEMS), max_size=14),
    answer=st.sampled_from(['{"no": "list"}', "[1, 2", "refuse:request:no such symbol"]),
)
async def test_items_that_fail_every_day_block_no_other_and_cost_less_and_less(
    connection, bad, answer
):
    """A sweep of 15 items, 5 a day, whichever items fail."""
    await connection.execute("TRUNCATE job_items, prices")
    ports = FakePorts()
    ports.fetcher.answers = {item: [answer] for item in bad}
    spec = sweep(batch=A_DAY)

    for _ in range(len(ITEMS) // A_DAY):
        await run_day(connection, spec, ports)
    cursor = await connection.execute("SELECT symbol FROM prices")
    assert {symbol async for (symbol,) in cursor} == {*ITEMS} - bad
    for _ in range(DAYS):
        await run_day(connection, spec, ports)

    # Pauses of 12 hours, 1, 2, 4, 8, 16 days: at most seven attempts, each of at most four calls.
    for item in bad:
        assert ports.fetcher.calls.count(("first", item)) <= 7 * (4 if answer == "[1, 2" else 1)


async def test_a_success_ends_the_pauses_of_an_item(connection):
    spec = sweep()
    store = JobStore(connection, spec, RUN, EPOCH)
    request = Request("I00", "/I00")
    failed = Collected(request, "failed", why="unreadable", fault="answer")

    await store.save("first", [failed])
    await store.save("first", [failed])
    twice = (await store.items("first"))["I00"]
    await store.save("first", [Collected(request, "done", rows=(Price("I00", 1),))])
    after = (await store.items("first"))["I00"]

    assert (twice.attempts, twice.not_before is not None) == (2, True)
    assert (after.attempts, after.not_before, after.state) == (0, None, "done")


@pytest.mark.parametrize("fault", ["provider", ""])
async def test_an_item_does_not_wait_for_the_fault_of_the_provider(connection, fault):
    store = JobStore(connection, sweep(), RUN, EPOCH)

    await store.save("first", [Collected(Request("I00", "/"), "failed", why="down", fault=fault)])

    assert (await store.items("first"))["I00"].not_before is None


ROWS = {
    "a key that is too long": Price("x" * 11, 1),
    "a number out of range": Price("A", 2**40),
    "a value of another type": Price("A", {"a": 1}),  # type: ignore[arg-type]
    "a value that is no number": Price("A", "x"),  # type: ignore[arg-type]
    "a key that cannot be a key": Price(["A"], 1),  # type: ignore[arg-type]
    "no key": Price(None, 1),  # type: ignore[arg-type]
}


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
async def test_a_result_that_cannot_be_stored_costs_no_other(connection, row):
    store = JobStore(connection, sweep(), RUN, EPOCH)
    good = Collected(Request("I00", "/"), "done", rows=(Price("I00", 1),))
    bad = Collected(Request("I01", "/"), "done", rows=(row,), text="[5]")

    saved = await store.save("first", [good, bad])

    assert [result.state for result in saved.results] == ["done", "failed"]
    assert saved.results[1].why
    cursor = await connection.execute("SELECT symbol FROM prices")
    assert await cursor.fetchall() == [("I00",)]
    cursor = await connection.execute("SELECT count(*) FROM dead_letters")
    assert await cursor.fetchone() == (1,)


async def test_keys_that_are_equal_only_once_they_are_stored_are_one_row(connection):
    rows = (Price("A\x00", 1), Price("A", 2))

    await JobStore(connection, sweep(), RUN, EPOCH).save(
        "first", [Collected(Request("A", "/"), "done", rows=rows)]
    )

    cursor = await connection.execute("SELECT symbol, price FROM prices")
    assert await cursor.fetchall() == [("A", 2)]


@pytest.mark.parametrize("text", ["a\x00b", "cut \ud83d off"])
async def test_every_text_of_a_result_is_stored(connection, text):
    """Also the next page, the reason, and the parts of a dead letter."""
    result = Collected(
        Request("A", "/"),
        "paging",
        bad=(Unparsed({"a": [text]}, "unreadable", text),),
        text=text,
        next=Request("A", "/", {"token": text}),
        why=text,
    )
    store = JobStore(connection, sweep(), RUN, EPOCH)

    await store.save("first", [result])

    assert (await store.items("first"))["A"].state == "paging"


async def test_a_long_list_of_unreadable_parts_becomes_a_bounded_number_of_dead_letters(
    connection,
):
    """A provider that renames one field makes every part unreadable; the payload has them all."""
    parts = tuple(Unparsed({"n": n}, "KeyError", "'price'") for n in range(50_000))
    store = JobStore(connection, sweep(), RUN, EPOCH)

    saved = await store.save("first", [Collected(Request("A", "/"), "failed", bad=parts, text="x")])

    cursor = await connection.execute(
        "SELECT count(*), max(detail) FILTER (WHERE detail LIKE '%more parts%') FROM dead_letters"
    )
    assert await cursor.fetchone() == (
        MOST_PARTS + 1,
        f"{50_000 - MOST_PARTS} more parts of this answer cannot be read; its payload holds them",
    )
    assert saved.counts.parked == 50_000


async def test_a_run_that_was_taken_over_is_not_bad_data(connection):
    store = JobStore(connection, sweep(), RUN, EPOCH, holder="gone")

    with pytest.raises(OwnershipLost):
        await store.save("first", [Collected(Request("A", "/"), "done")])

    assert not is_bad_data(OwnershipLost("gone"))
