"""Run coroutines together, and wait for events with a limit."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Coroutine

log = logging.getLogger(__name__)


async def first_of(*coroutines: Coroutine[object, object, object]) -> None:
    """Run coroutines until the first one finishes, cancel the others, and raise its exception."""
    tasks = [asyncio.ensure_future(coroutine) for coroutine in coroutines]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        await _cancel(tasks)


@contextlib.asynccontextmanager
async def background(*coroutines: Coroutine[object, object, object]) -> AsyncIterator[None]:
    """
    Run coroutines during a block and cancel them at its end.

    A coroutine that raises is logged and does not end the block.
    """
    tasks = [asyncio.create_task(coroutine) for coroutine in coroutines]
    for task in tasks:
        task.add_done_callback(_log_failure)
    try:
        yield
    finally:
        await _cancel(tasks)


async def wait_for_event(event: asyncio.Event, timeout_s: float) -> bool:
    """Wait until an event is set; return False if that takes longer than `timeout_s`."""
    # Not `asyncio.wait_for`: Python 3.11 loses a cancellation that arrives as the wait ends.
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(timeout_s):
            await event.wait()
    return event.is_set()


async def _cancel(tasks: list["asyncio.Task[object]"]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _log_failure(task: "asyncio.Task[object]") -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        log.error("a background task failed", exc_info=error)
