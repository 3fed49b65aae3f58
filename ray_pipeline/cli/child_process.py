"""Modules of the project that run as child processes, as long as this process needs them."""

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from types import MappingProxyType
from typing import Any

from ray_pipeline.errors import ServerError

READY_S = 30.0
TERMINATE_S = 5.0
NO_VARIABLES: Mapping[str, str] = MappingProxyType({})


@asynccontextmanager
async def child_process(
    module: str, *arguments: str, fix: str, variables: Mapping[str, str] = NO_VARIABLES
) -> AsyncIterator[dict[str, Any]]:
    """
    Run a module as a child process; yield the JSON line that it prints when it is ready.

    Args:
        module: The module, which supports --until-stdin-ends.
        arguments: Its arguments.
        fix: The error's advice: how to find out why the module does not start.
        variables: Environment variables that the child gets in addition to those of this process.

    Raises:
        ServerError: If the child ends before it is ready.
    """
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", module, *arguments, "--until-stdin-ends",
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
        stdin=asyncio.subprocess.PIPE, start_new_session=True,
        # PATH, HOME and the like.
        env={**os.environ, **variables},
    )  # fmt: skip
    try:
        assert process.stdout is not None
        line = await asyncio.wait_for(process.stdout.readline(), READY_S)
        if not line:
            raise ServerError(
                f"`{' '.join((module, *arguments))}` ended while starting", fix=f"{fix} to see why"
            )
        yield json.loads(line)
    finally:
        await _end(process)


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.terminate()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), TERMINATE_S)
    if process.returncode is None:
        process.kill()
        await process.wait()
