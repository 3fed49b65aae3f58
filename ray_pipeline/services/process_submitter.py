"""Start runs as plain processes, where there is no Jobs API."""

import asyncio
import os
import sys
from collections.abc import Mapping
from datetime import datetime

from ray_pipeline.errors import PipelineError


class ProcessSubmitter:
    """
    Starts one process a run; their output goes where this one's goes.

    Each ends with the process that started it: its standard input is a pipe that closes then.
    """

    def __init__(self, variables: Mapping[str, str]) -> None:
        """Take the environment variables that the processes get beside those of this one."""
        self._variables = variables
        self._processes: set[asyncio.subprocess.Process] = set()

    async def submit(self, job: str, slot: datetime, *, attempt: int) -> str:
        """
        Start a run, and return that there is nothing to say about it.

        Raises:
            PipelineError: If no process can be started.
        """
        del attempt  # the book of runs counts them
        options = ("--trigger", "schedule", "--json", "--until-stdin-ends")
        try:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "ray_pipeline.cli.jobs",
                job,
                "--slot",
                slot.isoformat(),
                *options,
                # PATH, HOME and the like, and the settings.
                env={**os.environ, **self._variables},
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.DEVNULL,
            )
        except OSError as error:
            raise PipelineError(f"no process can be started: {error}") from None
        self._processes.add(process)
        self._processes = {one for one in self._processes if one.returncode is None}
        return ""
