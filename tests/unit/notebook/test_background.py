"""An event loop in a thread, for callers that run in a loop of their own."""

import asyncio

import pytest

from ray_pipeline.notebook.background import Background


async def test_it_waits_for_its_answer_inside_of_a_running_loop():
    background = Background()

    async def answer() -> str:
        await asyncio.sleep(0)
        return "yes"

    assert background.run(answer()) == "yes"
    background.close()
    background.close()  # twice is once


def test_an_error_of_the_coroutine_reaches_the_caller():
    """With its own type."""
    background = Background()

    async def fail() -> None:
        raise LookupError("no such symbol")

    with pytest.raises(LookupError, match="no such symbol"):
        background.run(fail())
    background.close()
