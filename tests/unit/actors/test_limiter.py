"""The limiter actor, as a plain class: it passes requests to the ledger and deletes old calls."""

import asyncio
import os
from datetime import UTC, datetime

import pytest

from ray_pipeline import settings
from ray_pipeline.actors import limiter
from ray_pipeline.actors.limiter import PRUNE_S, LimiterActor
from ray_pipeline.batch.permits import NotBefore, Permit
from ray_pipeline.errors import DatabaseUnavailable
from ray_pipeline.providers.quota import DAY
from tests.virtual_time import now_s, until_s, virtual_time

MIDNIGHT = datetime(2026, 9, 24, tzinfo=UTC)


class FakeLedger:
    """Answers with `answer`; keeps its calls."""

    def __init__(self) -> None:
        self.answer: Permit | NotBefore = Permit("key")
        self.requests: list[tuple] = []
        self.finished_ids: list[int] = []
        self.cooldowns: list[tuple] = []
        self.pruned_at_s: list[float] = []
        self.failure: Exception | None = None
        self.close_s = 0.0
        self.closed = False
        self.exit_codes: list[int] = []  # with which the process would have ended

    def check(self) -> None:
        if self.failure is not None:
            raise self.failure

    async def acquire(self, provider, *, job, sweep, calls=1, key=None):
        self.check()
        self.requests.append((provider, job, sweep, calls))
        return self.answer

    async def finished(self, ids):
        self.check()
        self.finished_ids += ids

    async def cooldown(self, provider, key, *, pause, reason):
        self.check()
        self.cooldowns.append((provider, key, pause, reason))

    async def prune(self):
        self.pruned_at_s.append(now_s())
        self.check()

    async def close(self):
        await asyncio.sleep(self.close_s)
        self.closed = True


@pytest.fixture
def ledger(monkeypatch):
    created = FakeLedger()
    monkeypatch.setattr(limiter, "SharedLedger", lambda _dsn, _keys, *, speed: created)
    monkeypatch.setattr(os, "_exit", created.exit_codes.append)
    return created


def limiter_actor() -> LimiterActor:
    """Return an actor; no server listens at its address."""
    return LimiterActor(settings.load(postgres={"dsn": "postgresql://nobody@localhost:1/none"}))


@virtual_time
async def test_a_permit_is_passed_on_and_its_calls_are_counted(ledger):
    """The ledger may permit fewer calls than were requested."""
    actor = limiter_actor()
    ledger.answer = Permit("key", calls=3)

    assert await actor.acquire("finnhub", job="news", sweep=True, calls=5) == ledger.answer

    assert ledger.requests == [("finnhub", "news", True, 5)]
    assert (await actor.status())["granted"] == 3
    assert repr(actor) == "Limiter(3 calls granted)"
    await actor.stop(1.0)


@virtual_time
async def test_a_refusal_counts_no_call(ledger):
    actor = limiter_actor()
    ledger.answer = NotBefore(MIDNIGHT, "day")

    assert await actor.acquire("finnhub", job="news", sweep=False) == ledger.answer

    assert (await actor.status())["granted"] == 0
    await actor.stop(1.0)


@virtual_time
async def test_without_its_ledger_it_permits_nothing(ledger):
    """A call that is not counted could exceed the quota."""
    actor = limiter_actor()
    ledger.failure = DatabaseUnavailable("it does not answer")

    with pytest.raises(DatabaseUnavailable):
        await actor.acquire("finnhub", job="news", sweep=False)
    with pytest.raises(DatabaseUnavailable):
        await actor.cooldown("finnhub", "key", pause=None, reason="refused")

    assert (await actor.status())["granted"] == 0
    await actor.stop(1.0)


@virtual_time
async def test_answered_calls_are_passed_on(ledger):
    actor = limiter_actor()

    await actor.finished([3, 4])

    assert ledger.finished_ids == [3, 4]
    await actor.stop(1.0)


@virtual_time
async def test_a_cooldown_is_passed_on(ledger):
    actor = limiter_actor()

    await actor.cooldown("finnhub", "key", pause=DAY, reason="quota")

    assert ledger.cooldowns == [("finnhub", "key", DAY, "quota")]
    await actor.stop(1.0)


@virtual_time
async def test_every_hour_old_calls_are_deleted_through_outages(ledger):
    """Without that, the table of calls would grow without limit."""
    actor = limiter_actor()
    await until_s(1.5 * PRUNE_S)
    ledger.failure = DatabaseUnavailable("it does not answer")
    await until_s(2.5 * PRUNE_S)
    ledger.failure = None
    await until_s(3.5 * PRUNE_S)

    assert ledger.pruned_at_s == [PRUNE_S, 2 * PRUNE_S, 3 * PRUNE_S]
    assert ledger.exit_codes == []
    await actor.stop(1.0)


@virtual_time
async def test_a_stop_closes_the_connection_and_ends_the_deleting(ledger):
    actor = limiter_actor()

    assert await actor.stop(1.0)
    await until_s(2 * PRUNE_S)

    assert ledger.closed
    assert ledger.pruned_at_s == []
    assert ledger.exit_codes == []


@virtual_time
async def test_a_connection_that_does_not_close_delays_the_stop_no_longer_than_permitted(ledger):
    """The counts are committed, so nothing can be lost."""
    actor = limiter_actor()
    ledger.close_s = 1_000.0

    assert await actor.stop(10.0)
    assert now_s() == 10
