"""Run coroutines together, and wait for events with a limit."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Coroutine


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
    Run coroutines during a block and cancel them at its end. A coroutine may return early.

    Raises:
        ExceptionGroup: If a coroutine or the block raised. The failure of one cancels all others,
            the block included: a task that ended unnoticed would leave its work undone.
    """
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(coroutine) for coroutine in coroutines]
        yield
        for task in tasks:
            task.cancel()


async def run_with(
    main: Coroutine[object, object, None], *companions: Coroutine[object, object, object]
) -> None:
    """Run `main` to its end with companions; the failure of a companion ends it, as above."""
    async with background(*companions):
        await main


def first_cause(error: BaseException) -> BaseException:
    """Return the first exception inside an exception group, at any depth; else the error itself."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


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
