"""The ledger never grants one call too many: with any jobs, workers, crashes and clocks."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ray_pipeline.batch.permits import NotBefore, Permit
from ray_pipeline.providers.provider import Provider
from ray_pipeline.providers.quota import MINUTE, Quota, Window
from ray_pipeline.storage.postgres import ledger as ledger_module
from ray_pipeline.storage.postgres.connection import session
from ray_pipeline.storage.postgres.ledger import Ledger

START = datetime(2026, 11, 1, 4, 58, tzinfo=UTC)  # two hours before New York's clock is put back
DAY = Window(6, reset="day", zone="America/New_York")
PROVIDER = Provider(
    "alpha_vantage", "Test", "http://x", Quota((Window(2, MINUTE), DAY), reserve=0.5)
)
STEPS = st.lists(
    st.tuples(
        st.sampled_from([-7_200, -1, 0, 1, 5, 20, 59, 60, 61, 3_600, 40_000]),  # seconds
        st.integers(1, 4),  # calls wanted
        st.booleans(),  # a worker that crashes before it has heard the answer
    ),
    min_size=1,
    max_size=40,
)


@pytest.fixture
def provider(monkeypatch):
    """One small provider in place of the shipped ones."""
    monkeypatch.setattr(ledger_module, "all_providers", lambda: (PROVIDER,))


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
def test_no_window_ever_holds_more_than_its_limit(provider, postgres_dsn, steps):
    """Clocks are put forward and back; a grant nobody heard of counts all the same."""

    async def play() -> list[datetime]:
        async with session(postgres_dsn, name="test") as connection:
            for name in ("quota_grants", "quota_counters", "quota_keys"):
                await connection.execute(f"TRUNCATE {name}".encode())
            book = Ledger(connection, {"alpha_vantage": ["k"]})
            now = START
            for step_s, wanted, _crashed in steps:
                now += timedelta(seconds=step_s)
                await book.acquire("alpha_vantage", calls=wanted, job="j", sweep=False, moment=now)
            cursor = await connection.execute(
                "SELECT granted_at, calls FROM quota_grants ORDER BY granted_at, id"
            )
            return [at.astimezone(UTC) async for at, calls in cursor for _ in range(calls)]

    granted = asyncio.run(play())

    for first, one_too_many in zip(granted, granted[2:], strict=False):
        assert one_too_many - first >= MINUTE
    for moment in granted:
        start, end = DAY.start(moment), DAY.end(moment)
        assert sum(start <= other < end for other in granted) <= DAY.limit


async def test_nothing_is_wasted(provider, postgres_dsn):
    """Whoever asks at the moment he was told gets his call."""
    async with session(postgres_dsn, name="test") as connection:
        book = Ledger(connection, {"alpha_vantage": ["k"]})
        now, granted, asked = START, 0, 0
        end = DAY.end(START)
        while now < end:
            answer = await book.acquire("alpha_vantage", calls=1, job="j", sweep=False, moment=now)
            asked += 1
            if isinstance(answer, Permit):
                granted += 1
            else:
                assert isinstance(answer, NotBefore)
                assert answer.moment is not None
                assert answer.moment > now
                now = answer.moment

    assert granted == DAY.limit
    assert asked <= 3 * DAY.limit  # the answer to a call in flight may come soon, so ask again


async def test_a_hundred_workers_of_two_clusters_share_one_budget(provider, postgres_dsn):
    """Each over a connection of its own, all at once."""

    async def worker(number: int) -> int:
        async with session(postgres_dsn, name=f"worker {number}") as connection:
            book = Ledger(connection, {"alpha_vantage": ["a", "b"]})
            answers = [
                await book.acquire("alpha_vantage", job=f"j{number}", sweep=False) for _ in range(5)
            ]
            return sum(isinstance(answer, Permit) for answer in answers)

    granted = sum(await asyncio.gather(*(worker(number) for number in range(20))))

    assert granted == 4  # two a minute for each of two keys


async def test_a_sweep_leaves_the_reserve_to_others(provider, postgres_dsn):
    """Half of the day here; a short job gets its call on a day that a sweep has eaten up."""
    async with session(postgres_dsn, name="test") as connection:
        book = Ledger(connection, {"alpha_vantage": ["k"]})

        async def ask(minute: int, *, sweep: bool) -> bool:
            moment = START.replace(hour=12) + timedelta(minutes=minute)
            answer = await book.acquire(
                "alpha_vantage", calls=1, job="j", sweep=sweep, moment=moment
            )
            if isinstance(answer, Permit):
                await book.finished(answer.ids, moment=moment)
            return isinstance(answer, Permit)

        swept = [await ask(minute, sweep=True) for minute in range(5)]
        short = [await ask(minute, sweep=False) for minute in range(10, 15)]

    assert swept == [True, True, True, False, False]
    assert short == [True, True, True, False, False]


async def test_a_refused_key_rests_and_the_others_go_on(provider, postgres_dsn):
    """One until a moment, one until it is changed: a changed key has another fingerprint."""
    async with session(postgres_dsn, name="test") as connection:
        book = Ledger(connection, {"alpha_vantage": ["a", "b"]})
        await book.cooldown("alpha_vantage", "a", pause=None, reason="401")
        first = await book.acquire("alpha_vantage", job="j", sweep=False)
        until = await book.cooldown("alpha_vantage", "b", pause=timedelta(hours=3), reason="429")
        none = await book.acquire("alpha_vantage", job="j", sweep=False)
        changed = Ledger(connection, {"alpha_vantage": ["c", "b"]})
        other = await changed.acquire("alpha_vantage", job="j", sweep=False)

    assert first == Permit("b")
    assert isinstance(none, NotBefore)
    assert none.moment == until
    assert none.reason == "429"
    assert other == Permit("c")


async def test_a_grant_survives_the_death_of_who_asked(provider, own_postgres):
    """It is committed before the call; a restart of the database forgets nothing."""
    from ray_pipeline.storage.migrations import migrate

    await migrate(own_postgres.dsn)
    async with session(own_postgres.dsn, name="test") as connection:
        book = Ledger(connection, {"alpha_vantage": ["k"]})
        assert await book.acquire("alpha_vantage", job="j", sweep=False) == Permit("k")
        assert await book.acquire("alpha_vantage", job="j", sweep=False) == Permit("k")
    own_postgres.kill()
    own_postgres.start()
    async with session(own_postgres.dsn, name="test") as connection:
        book = Ledger(connection, {"alpha_vantage": ["k"]})
        answer = await book.acquire("alpha_vantage", job="j", sweep=False)

    assert isinstance(answer, NotBefore)
