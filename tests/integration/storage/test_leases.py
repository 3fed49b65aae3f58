"""Leases on a real Postgres: two holders, two releases, an outage, and any order of the three."""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from random import Random

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from ray_pipeline.errors import DatabaseUnavailable, OwnershipLost
from ray_pipeline.lease import Lease, Ownership
from ray_pipeline.storage.migrations import migrate
from ray_pipeline.storage.postgres.connection import session
from ray_pipeline.storage.postgres.leases import Leases

RESOURCE = "producer/sp500/3"
TTL_S = 60.0
DEADLINE_S = 20.0


@pytest.fixture
async def dsn(postgres_dsn) -> str:
    await migrate(postgres_dsn)
    return postgres_dsn


@pytest.fixture
async def leases(dsn):
    leases = Leases(dsn)
    yield leases
    await leases.close()


async def take(leases: Leases, holder: str, generation: int = 1) -> Lease | None:
    return await leases.acquire(RESOURCE, holder=holder, generation=generation, ttl_s=TTL_S)


async def expire(dsn: str) -> None:
    """Let the lease's time pass."""
    async with session(dsn, name="test") as connection:
        await connection.execute("UPDATE leases SET expires_at = now() - interval '1 second'")


async def test_the_first_holder_keeps_others_out(leases):
    first = await take(leases, "a")

    assert first is not None
    assert first.epoch == 1
    assert await take(leases, "b") is None


async def test_the_deadline_is_before_the_expiry(leases):
    """It is taken before the question is asked, and a margin earlier than the database's."""
    before_s = time.monotonic()

    lease = await take(leases, "a")

    assert lease is not None
    assert lease.deadline_s < time.monotonic() + TTL_S * 0.91
    assert lease.deadline_s >= before_s + TTL_S * 0.9


async def test_a_released_lease_gets_a_new_epoch(leases):
    first = await take(leases, "a")
    await leases.release(first)

    second = await take(leases, "b")

    assert second is not None
    assert second.epoch == first.epoch + 1


async def test_an_expired_lease_can_be_renewed_while_nobody_took_it(leases, dsn):
    first = await take(leases, "a")
    await expire(dsn)

    again = await leases.renew(first, ttl_s=TTL_S)

    assert again.epoch == first.epoch
    assert await take(leases, "b") is None


async def test_an_expired_lease_that_was_taken_is_lost(leases, dsn):
    first = await take(leases, "a")
    await expire(dsn)
    second = await take(leases, "b")

    with pytest.raises(OwnershipLost, match="epoch 1 is over"):
        await leases.renew(first, ttl_s=TTL_S)
    await leases.release(first)

    assert second is not None
    assert await leases.renew(second, ttl_s=TTL_S)


async def test_an_older_release_waits_for_the_newer_one_that_asked(leases):
    """Otherwise it could take back at once what it has just handed over."""
    old = await take(leases, "old", generation=1)
    await leases.request(RESOURCE, generation=2, for_s=TTL_S)
    assert await leases.requested(old)
    await leases.release(old)

    assert await take(leases, "old", generation=1) is None
    new = await take(leases, "new", generation=2)

    assert new is not None
    assert not await leases.requested(new)


async def test_an_equal_release_cannot_ask(leases):
    lease = await take(leases, "a", generation=2)
    await leases.request(RESOURCE, generation=2, for_s=TTL_S)
    await leases.request(RESOURCE, generation=1, for_s=TTL_S)

    assert not await leases.requested(lease)


async def test_a_killed_connection_is_reopened(leases, dsn):
    lease = await take(leases, "a")
    async with session(dsn, name="test") as connection:
        await connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE application_name = 'ray-pipeline leases'"
        )

    with contextlib.suppress(DatabaseUnavailable):
        await leases.renew(lease, ttl_s=TTL_S)

    assert await leases.renew(lease, ttl_s=TTL_S)


async def test_a_newer_release_takes_over_from_a_running_holder(leases, dsn):
    """The older one is asked, releases, and the newer one goes on with the next epoch."""
    others = Leases(dsn)
    old = ownership(leases, "old", generation=1)
    new = ownership(others, "new", generation=2)
    first = await old.take()
    holding = asyncio.create_task(old.hold())
    taking = asyncio.create_task(new.take())
    try:
        async with asyncio.timeout(DEADLINE_S):
            await old.requested.wait()
            holding.cancel()
            await old.release()
            second = await taking
    finally:
        taking.cancel()
        await others.close()

    assert second.epoch == first.epoch + 1
    assert new.valid()
    assert not old.valid()


async def test_an_unhealthy_newer_release_requests_nothing_and_says_why(leases, dsn):
    """It gets the lease when it can do the work, or when the older one gives it back."""
    others = Leases(dsn)
    reasons = ["the broker is away", "the broker is away", ""]
    old = ownership(leases, "old", generation=1)
    lease = await old.take()

    async def obstacle() -> str:
        assert not await leases.requested(lease)
        assert new.cause in {"waiting for the lease producer/sp500/3", "the broker is away"}
        return reasons.pop(0) if reasons else ""

    new = ownership(others, "new", generation=2, obstacle=obstacle)
    holding = asyncio.create_task(old.hold())
    taking = asyncio.create_task(new.take())
    try:
        async with asyncio.timeout(DEADLINE_S):
            await old.requested.wait()
    finally:
        holding.cancel()
        taking.cancel()
        await others.close()

    assert reasons == []


def ownership(
    leases: Leases,
    holder: str,
    *,
    generation: int = 1,
    obstacle: Callable[[], Awaitable[str]] | None = None,
) -> Ownership:
    return Ownership(
        leases, RESOURCE, holder=holder, generation=generation, ttl_s=3.0, random=Random(1),
        obstacle=obstacle,
    )  # fmt: skip


HOLDERS = st.sampled_from(["a", "b", "c"])
GENERATION = {"a": 1, "b": 1, "c": 2}
LEASE_S = 100.0


class LeaseMachine(RuleBasedStateMachine):
    """Three holders do what they like while time passes; time is the only thing that is faked."""

    dsn: str
    runner: asyncio.Runner

    def __init__(self) -> None:
        super().__init__()
        self.leases = Leases(self.dsn, clock=lambda: self.now_s)
        self.now_s = 0.0
        self.held: dict[str, Lease] = {}
        self.epochs: list[int] = []
        self.asked_until_s = 0.0
        self.last_generation = 0  # of the newest epoch
        self.run("DELETE FROM leases")

    def run(self, statement: str) -> None:
        async def execute() -> None:
            async with session(self.dsn, name="test") as connection:
                await connection.execute(statement)

        self.runner.run(execute())

    def teardown(self) -> None:
        self.runner.run(self.leases.close())

    def active(self) -> list[str]:
        return [name for name, lease in self.held.items() if self.now_s < lease.deadline_s]

    @rule(holder=HOLDERS)
    def acquire(self, holder: str) -> None:
        generation = GENERATION[holder]
        lease = self.runner.run(
            self.leases.acquire(RESOURCE, holder=holder, generation=generation, ttl_s=LEASE_S)
        )
        if lease is None:
            return
        assert not self.active(), "somebody was still allowed to work"
        assert generation == 2 or self.now_s >= self.asked_until_s, "the newer one asked"
        self.epochs.append(lease.epoch)
        self.held[holder] = lease
        self.last_generation = generation
        if generation == 2:
            self.asked_until_s = 0.0

    @rule(holder=HOLDERS)
    def renew(self, holder: str) -> None:
        if holder not in self.held:
            return
        lease = self.held[holder]
        try:
            self.held[holder] = self.runner.run(self.leases.renew(lease, ttl_s=LEASE_S))
            assert lease.epoch == self.epochs[-1]
        except OwnershipLost:
            assert lease.epoch < self.epochs[-1]
            del self.held[holder]

    @rule(holder=HOLDERS)
    def release(self, holder: str) -> None:
        if holder in self.held:
            self.runner.run(self.leases.release(self.held.pop(holder)))

    @rule()
    def ask(self) -> None:
        self.runner.run(self.leases.request(RESOURCE, generation=2, for_s=LEASE_S))
        # A request to a generation that is not older has no effect, even after a release.
        if self.last_generation == 1:
            self.asked_until_s = self.now_s + LEASE_S - 10

    @rule(seconds=st.sampled_from([30.0, 60.0, 150.0]))
    def wait(self, seconds: float) -> None:
        """Time passes: both clocks move, the holders' and the database's."""
        self.now_s += seconds
        self.run(
            f"UPDATE leases SET expires_at = expires_at - interval '{seconds} seconds', "
            f"wanted_until = wanted_until - interval '{seconds} seconds'"
        )

    @invariant()
    def one_holder_at_a_time(self) -> None:
        assert len(self.active()) <= 1

    @invariant()
    def epochs_grow_by_one(self) -> None:
        assert self.epochs == list(range(1, len(self.epochs) + 1))


def test_no_order_of_events_gives_two_holders(postgres_dsn):
    """Acquire, renew, release, ask and wait in any order."""
    with asyncio.Runner() as runner:
        runner.run(migrate(postgres_dsn))
        machine = type("Machine", (LeaseMachine,), {"dsn": postgres_dsn, "runner": runner})
        run_state_machine_as_test(
            machine,
            settings=settings(
                max_examples=25,
                stateful_step_count=30,
                suppress_health_check=list(HealthCheck),
            ),
        )
