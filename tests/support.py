"""Wait for a condition, with a deadline."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import LiteralString, TypeVar

from ray_pipeline.storage.postgres.connection import Connection

T = TypeVar("T")

POLL_S = 0.02
PAYLOADS = Path(__file__).resolve().parents[2] / "shared" / "payloads"


async def eventually(
    probe: Callable[[], T | Awaitable[T]], *, timeout_s: float = 20.0, what: str = "the condition"
) -> T:
    """Return the first true result of the probe; after `timeout_s`, fail with the text `what`."""
    deadline_s = time.monotonic() + timeout_s
    while True:
        result = probe()
        if isinstance(result, Awaitable):
            result = await result
        if result:
            return result
        if time.monotonic() > deadline_s:
            raise AssertionError(f"not within {timeout_s:g} s: {what} (last: {result!r})")
        await asyncio.sleep(POLL_S)


def eventually_sync(
    probe: Callable[[], T], *, timeout_s: float = 20.0, what: str = "the condition"
) -> T:
    """The same as `eventually`, outside an event loop."""
    deadline_s = time.monotonic() + timeout_s
    while not (result := probe()):
        if time.monotonic() > deadline_s:
            raise AssertionError(f"not within {timeout_s:g} s: {what} (last: {result!r})")
        time.sleep(POLL_S)
    return result


async def scalar(connection: Connection, query: LiteralString, *values: object) -> object:
    """Return the first column of the first row, None without a row."""
    cursor = await connection.execute(query, values)
    row = await cursor.fetchone()
    return row[0] if row else None
