"""Callers that wait together share one question, and every call that was granted is made."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ray_pipeline.batch.permits import (
    VALID_S,
    CallPermits,
    NotBefore,
    Permit,
    PermitBatcher,
    timed,
)
from ray_pipeline.errors import DatabaseUnavailable


class Ledger:
    """Grants at most so many calls a question, until nothing is left."""

    def __init__(self, left: int, most: int) -> None:
        self.left = left
        self.most = most
        self.questions = 0

    async def ask(self, calls: int) -> Permit | NotBefore:
        self.questions += 1
        await asyncio.sleep(0)
        calls = min(calls, self.left, self.most)
        self.left -= calls
        return Permit("key", calls) if calls else NotBefore(None, "25/day")


async def take_all(ledger: Ledger, callers: int) -> list[Permit | NotBefore]:
    permits = PermitBatcher(ledger.ask)
    return await asyncio.gather(*(permits.take() for _ in range(callers)))


async def test_callers_that_wait_together_ask_once():
    """The first asks for itself; the others have come while it asked."""
    ledger = Ledger(left=100, most=100)

    assert await take_all(ledger, 8) == [Permit("key")] * 8
    assert ledger.questions == 2
    assert ledger.left == 92


@given(st.integers(0, 30), st.integers(1, 10), st.integers(1, 20))
def test_nothing_is_granted_twice_and_nothing_is_wasted(left, most, callers):
    ledger = Ledger(left, most)

    found = asyncio.run(take_all(ledger, callers))

    made = sum(isinstance(one, Permit) for one in found)
    assert made == min(left, callers)
    assert ledger.left == left - made


async def test_a_caller_that_gives_up_leaves_its_call_to_the_next():
    ledger = Ledger(left=100, most=100)
    permits = PermitBatcher(ledger.ask)
    first, second = (asyncio.ensure_future(permits.take()) for _ in range(2))
    await asyncio.sleep(0)
    second.cancel()
    await asyncio.gather(first, second, return_exceptions=True)
    third = await permits.take()

    assert first.result() == third == Permit("key")
    assert ledger.left + 2 == 100


class FakeClock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


async def test_an_expired_permit_is_not_used_and_its_call_stays_counted():
    """The ledger assumes that its call arrives soon after the grant, or not at all."""
    ledger, clock = Ledger(left=100, most=100), FakeClock()
    permits = PermitBatcher(lambda _calls: ledger.ask(2), clock=clock)
    first = await permits.take()

    clock.now_s = VALID_S
    second = await permits.take()

    assert isinstance(first, Permit)
    assert isinstance(second, Permit)
    assert (first.expires_s, second.expires_s) == (VALID_S, 2 * VALID_S)
    assert ledger.left == 96


async def test_a_permit_expires_by_the_time_before_its_request():
    """The grant may have come at the beginning of a slow request."""
    clock = FakeClock()

    async def slow_ledger() -> Permit | NotBefore:
        clock.now_s = VALID_S - 1
        return Permit("key")

    permit = await timed(slow_ledger(), clock=clock)

    assert isinstance(permit, Permit)
    assert permit.expires_s == VALID_S


async def test_a_ledger_slower_than_a_permit_is_valid_is_an_outage():
    """Another request would waste another call."""
    clock = FakeClock()

    async def stuck_ledger() -> Permit | NotBefore:
        clock.now_s = VALID_S
        return Permit("key")

    with pytest.raises(DatabaseUnavailable, match="30 s"):
        await timed(stuck_ledger(), clock=clock)


class Attempt:
    """The permits of one attempt, and what the ledger has heard of its calls."""

    def __init__(self, clock: FakeClock) -> None:
        self.keys: list[str] = []
        self.finished: list[Permit] = []
        first = Permit("key", ids=(0,), expires_s=VALID_S)
        self.started = 0
        self.permits = CallPermits(
            first,
            another=self.another,
            started=self.start,
            finished=self.finish,
            clock=clock,
        )

    def start(self) -> None:
        self.started += 1

    async def another(self, key: str) -> Permit:
        self.keys.append(key)
        return Permit(key, ids=(len(self.keys),))

    async def finish(self, permit: Permit) -> None:
        self.finished.append(permit)

    async def call(self, error: BaseException | None = None) -> None:
        async with self.permits.next_call():
            if error is not None:
                raise error


async def test_each_further_call_takes_a_permit_of_the_same_key():
    attempt = Attempt(FakeClock())

    await attempt.call()
    assert attempt.keys == []
    await attempt.call()
    await attempt.call()

    assert attempt.keys == ["key", "key"]
    assert attempt.started == 3
    assert [permit.ids for permit in attempt.finished] == [(0,), (1,), (2,)]


async def test_a_permit_that_expires_before_its_call_is_replaced():
    """Opening a client may take long."""
    clock = FakeClock()
    attempt = Attempt(clock)
    clock.now_s = VALID_S

    await attempt.call()

    assert attempt.keys == ["key"]
    assert attempt.started == 1


@pytest.mark.parametrize(
    ("error", "finished"),
    [(ConnectionError(), 1), (TimeoutError(), 0), (asyncio.CancelledError(), 0)],
)
async def test_a_call_that_may_still_arrive_is_not_reported_as_finished(error, finished):
    """After a timeout its request may be on its way."""
    attempt = Attempt(FakeClock())

    with pytest.raises(type(error)):
        await attempt.call(error)

    assert len(attempt.finished) == finished
