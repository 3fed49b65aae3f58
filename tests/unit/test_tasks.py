"""Coroutines that run together end together."""

import asyncio

import pytest

from ray_pipeline.tasks import background, first_cause, first_of, run_with, wait_for_event


class Endless:
    """A coroutine that records whether it was cancelled."""

    def __init__(self) -> None:
        self.cancelled = False

    async def run(self) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.cancelled = True
            raise


async def fail() -> None:
    raise ValueError("broken")


async def test_the_first_to_finish_cancels_the_others():
    """Their cancellation is complete when it returns."""
    endless = Endless()

    await first_of(endless.run(), asyncio.sleep(0))

    assert endless.cancelled


async def test_the_first_to_fail_is_raised():
    """The others are cancelled, too."""
    endless = Endless()

    with pytest.raises(ValueError, match="broken"):
        await first_of(endless.run(), fail())

    assert endless.cancelled


async def test_background_work_ends_with_its_block():
    """However the block ends."""
    endless = Endless()

    async def failing_block() -> None:
        async with background(endless.run()):
            await asyncio.sleep(0)
            raise KeyError

    with pytest.raises(ExceptionGroup) as raised:
        await failing_block()

    assert isinstance(first_cause(raised.value), KeyError)
    assert endless.cancelled


async def test_failed_background_work_ends_the_block_and_the_other_work():
    """A task that ends unnoticed leaves its work undone while everything seems to run."""
    block, other = Endless(), Endless()

    async def run_block() -> None:
        async with background(fail(), other.run()):
            await block.run()

    with pytest.raises(ExceptionGroup) as raised:
        await run_block()

    assert str(first_cause(raised.value)) == "broken"
    assert block.cancelled
    assert other.cancelled


async def test_background_work_may_end_before_its_block():
    """A renewal ends once its lease is lost, for example."""
    endless = Endless()

    async with background(asyncio.sleep(0), endless.run()):
        await asyncio.sleep(0.01)
        assert not endless.cancelled

    assert endless.cancelled


async def test_companions_end_with_the_main_coroutine_and_end_it_if_they_fail():
    endless, main = Endless(), Endless()
    await run_with(asyncio.sleep(0), endless.run())
    assert endless.cancelled

    with pytest.raises(ExceptionGroup):
        await run_with(main.run(), fail())
    assert main.cancelled


async def test_waiting_for_an_event_says_whether_it_was_set():
    """In time."""
    event = asyncio.Event()
    assert not await wait_for_event(event, 0.01)

    asyncio.get_running_loop().call_later(0.01, event.set)
    assert await wait_for_event(event, 5)
