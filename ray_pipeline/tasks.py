"""Several works, one fate."""

import asyncio
from collections.abc import Coroutine


async def first_of(*works: Coroutine[object, object, object]) -> None:
    """Run all until one of them ends, cancel the others, and raise what it raised."""
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
