"""Coroutines that run together end together."""

import asyncio
import logging

import pytest

from ray_pipeline.tasks import background, first_of, wait_for_event


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

    with pytest.raises(KeyError):
        await failing_block()

    assert endless.cancelled


async def test_failed_background_work_is_logged_and_the_block_continues(caplog):
    """It must not fail in silence."""
    async with background(fail()):
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    assert [(item.levelno, item.message) for item in caplog.records] == [
        (logging.ERROR, "a background task failed")
    ]


async def test_waiting_for_an_event_says_whether_it_was_set():
    """In time."""
    event = asyncio.Event()
    assert not await wait_for_event(event, 0.01)

    asyncio.get_running_loop().call_later(0.01, event.set)
    assert await wait_for_event(event, 5)
