"""Wait for a condition, with a deadline."""

import asyncio
import select
import subprocess
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import LiteralString, TypeVar

from ray_pipeline.storage.postgres.connection import Connection

T = TypeVar("T")

POLL_S = 0.02
PAYLOADS = Path(__file__).resolve().parents[2] / "shared" / "payloads"


async def eventually(
    probe: Callable[[], T | Awaitable[T]], *, timeout_s: float = 60.0, what: str = "the condition"
) -> T:
    """Return the first true result of the probe; after `timeout_s`, fail with the text `what`."""
    deadline_s = time.monotonic() + timeout_s
    while True:
        result = probe()
        if isinstance(result, Awaitable):
            try:
                # The probe has the whole time once more, so that a late success still counts.
                result = await asyncio.wait_for(result, timeout_s)
            except TimeoutError:
                raise AssertionError(f"the probe of {what} hangs: {probe}") from None
        if result:
            return result
        if time.monotonic() > deadline_s:
            raise AssertionError(f"not within {timeout_s:g} s: {what} (last: {result!r})")
        await asyncio.sleep(POLL_S)


def eventually_sync(
    probe: Callable[[], T], *, timeout_s: float = 60.0, what: str = "the condition"
) -> T:
    """The same as `eventually`, outside an event loop."""
    deadline_s = time.monotonic() + timeout_s
    while not (result := probe()):
        if time.monotonic() > deadline_s:
            raise AssertionError(f"not within {timeout_s:g} s: {what} (last: {result!r})")
        time.sleep(POLL_S)
    return result


def next_line(process: "subprocess.Popen[str]", what: str, *, timeout_s: float = 120.0) -> str:
    """
    Return the next line that a process prints, empty at its end; fail with the text `what`.

    The process prints one line at a time: a line that was read ahead with another is not seen.
    """
    assert process.stdout is not None
    readable, _, _ = select.select([process.stdout], [], [], timeout_s)
    assert readable, f"not within {timeout_s:g} s: {what}"
    return process.stdout.readline()


def end(process: "subprocess.Popen[str]", *, timeout_s: float = 60.0) -> None:
    """Close the input of a process, which ends it; kill it if it does not end."""
    try:
        process.communicate("", timeout=timeout_s)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()


async def scalar(connection: Connection, query: LiteralString, *values: object) -> object:
    """Return the first column of the first row, None without a row."""
    cursor = await connection.execute(query, values)
    row = await cursor.fetchone()
    return row[0] if row else None
