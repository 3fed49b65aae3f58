"""Callers that wait together share one question, and every call that was granted is made."""

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from ray_pipeline.batch.permits import NotBefore, Permit, PermitBatcher


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
