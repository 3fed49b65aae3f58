"""What tests share: waiting for a condition, with a deadline."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

POLL_S = 0.02
PAYLOADS = Path(__file__).resolve().parents[2] / "shared" / "payloads"


async def eventually(
    probe: Callable[[], T | Awaitable[T]], *, timeout_s: float = 20.0, what: str = "the condition"
) -> T:
    """Return the probe's first true result; fail after `timeout_s` saying what did not come."""
    deadline_s = time.monotonic() + timeout_s
    while True:
        found = probe()
        if isinstance(found, Awaitable):
            found = await found
        if found:
            return found
        if time.monotonic() > deadline_s:
            raise AssertionError(f"not within {timeout_s:g} s: {what} (last: {found!r})")
        await asyncio.sleep(POLL_S)


def eventually_sync(
    probe: Callable[[], T], *, timeout_s: float = 20.0, what: str = "the condition"
) -> T:
    """As `eventually`, outside an event loop."""
    deadline_s = time.monotonic() + timeout_s
    while not (found := probe()):
        if time.monotonic() > deadline_s:
            raise AssertionError(f"not within {timeout_s:g} s: {what} (last: {found!r})")
        time.sleep(POLL_S)
    return found
