"""The limiter actor as a plain class: many users, two clusters, restarts and outages."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable

import psycopg
import pytest

from ray_pipeline.actors.limiter import LimiterActor
from ray_pipeline.batch.permits import NotBefore, Permit
from ray_pipeline.errors import DatabaseUnavailable, PipelineError
from ray_pipeline.providers.provider import Provider
from ray_pipeline.providers.quota import MINUTE, Quota, Window
from ray_pipeline.redact import fingerprint
from ray_pipeline.settings import load
from ray_pipeline.storage.postgres import ledger as ledger_module

LIMIT = 12
PROVIDER = Provider("alpha_vantage", "Test", "http://x", Quota((Window(LIMIT, 10 * MINUTE),)))
KEYS = ("SECRET-one", "SECRET-two")
BUDGET = LIMIT * len(KEYS)

Start = Callable[[], Awaitable[LimiterActor]]


@pytest.fixture(autouse=True)
def provider(monkeypatch):
    """One small provider in place of the shipped ones, and two keys of it."""
    monkeypatch.setattr(ledger_module, "all_providers", lambda: (PROVIDER,))
    monkeypatch.setenv("PIPELINE_API_KEYS", json.dumps({"alpha_vantage": list(KEYS)}))


async def starter(dsn: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Start]:
    """Give a maker of actors on one database; they are stopped."""
    monkeypatch.setenv("PIPELINE_POSTGRES__DSN", dsn)
    actors: list[LimiterActor] = []

    async def start() -> LimiterActor:
        actors.append(LimiterActor(load()))
        return actors[-1]

    yield start
    for actor in actors:
        await actor.stop(5)


@pytest.fixture
async def start(postgres_dsn, monkeypatch) -> AsyncIterator[Start]:
    """A maker of actors."""
    async for maker in starter(postgres_dsn, monkeypatch):
        yield maker


@pytest.fixture
async def start_on_own(own_postgres, monkeypatch) -> AsyncIterator[Start]:
    """A maker of actors on a Postgres that the test may break."""
    async for maker in starter(own_postgres.dsn, monkeypatch):
        yield maker


async def ask(actor: LimiterActor, calls: int = 1) -> Permit | NotBefore:
    return await actor.acquire("alpha_vantage", job="test", sweep=False, calls=calls)


def granted(answers: list[Permit | NotBefore]) -> int:
    return sum(answer.calls for answer in answers if isinstance(answer, Permit))


def in_ledger(dsn: str) -> int:
    with psycopg.connect(dsn) as connection:
        row = connection.execute("SELECT coalesce(sum(calls), 0) FROM quota_grants").fetchone()
    return row[0]


async def test_all_users_of_two_clusters_share_one_budget(start, postgres_dsn):
    """A hundred questions at once, for one call and for several: no call too many, none wasted."""
    clusters = [await start(), await start()]

    answers = await asyncio.gather(
        *(ask(clusters[number % 2], calls=1 + number % 3) for number in range(100))
    )

    assert granted(answers) == in_ledger(postgres_dsn) == BUDGET
    by_key = {
        key: sum(one.calls for one in answers if isinstance(one, Permit) and one.key == key)
        for key in map(fingerprint, KEYS)
    }
    assert set(by_key.values()) == {LIMIT}


async def test_a_grant_is_in_the_ledger_when_its_answer_comes(start, postgres_dsn):
    """Committed: another connection sees it."""
    actor = await start()

    for number in range(1, 4):
        assert isinstance(await ask(actor), Permit)
        assert in_ledger(postgres_dsn) == number
    assert await actor.status() | {"pid": 0} == {"pid": 0, "granted": 3}


async def test_a_lease_is_never_more_than_there_is_room_for(start):
    """The rest of it has to be asked again, or not before a moment."""
    actor = await start()

    answers = [await ask(actor, calls=10) for _ in range(5)]

    assert [one.calls for one in answers if isinstance(one, Permit)] == [10, 10, 2, 2]
    last = answers[-1]
    assert isinstance(last, NotBefore)
    assert last.moment is not None


async def test_a_restart_forgets_nothing(start):
    """Neither what was granted nor which key rests."""
    first = await start()
    await first.cooldown("alpha_vantage", fingerprint(KEYS[0]), pause=None, reason="401")
    assert granted([await ask(first, calls=10)]) == 10
    await first.stop(5)

    second = await start()
    answers = [await ask(second, calls=10) for _ in range(2)]

    assert answers[0] == Permit(fingerprint(KEYS[1]), LIMIT - 10)
    assert isinstance(answers[1], NotBefore)


async def test_an_unknown_provider_is_an_error_that_names_the_others(start):
    actor = await start()

    with pytest.raises(PipelineError, match="no provider 'nobody'"):
        await actor.acquire("nobody", job="test", sweep=False)


async def test_a_connection_that_died_costs_no_answer(start, postgres_dsn):
    """The next question opens another; what was granted before is counted."""
    actor = await start()
    await ask(actor)
    with psycopg.connect(postgres_dsn, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
            "WHERE application_name = 'limiter' AND datname = current_database()"
        )

    answers = await asyncio.gather(*(ask(actor) for _ in range(BUDGET)))

    assert granted(answers) == BUDGET - 1


async def test_while_postgres_is_away_nothing_is_granted(start_on_own, own_postgres):
    """Everybody is told so, and nobody waits; afterwards it goes on by itself."""
    actor = await start_on_own()
    await ask(actor)
    own_postgres.kill()

    answers = await asyncio.gather(*(ask(actor) for _ in range(5)), return_exceptions=True)
    own_postgres.start()
    after = await ask(actor)

    assert [type(answer) for answer in answers] == [DatabaseUnavailable] * 5
    assert isinstance(after, Permit)
    assert in_ledger(own_postgres.dsn) == 2


async def test_no_key_is_in_what_it_says_of_itself(start, postgres_dsn):
    """Keys are fingerprints everywhere."""
    actor = await start()
    answer = await ask(actor)
    with psycopg.connect(postgres_dsn) as connection:
        rows = connection.execute("SELECT g::text FROM quota_grants AS g").fetchall()

    assert "SECRET" not in f"{answer!r} {actor!r} {await actor.status()} {rows}"
