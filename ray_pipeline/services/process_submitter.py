"""Start runs as plain processes, without the Jobs API of Ray."""

import asyncio
import os
import sys
from collections.abc import Mapping
from datetime import datetime

from ray_pipeline.errors import PipelineError


class ProcessSubmitter:
    """
    Starts a process for each run, with the error output of this process.

    The standard input of a run is a pipe. It closes when this process ends, and the run then ends.
    """

    def __init__(self, variables: Mapping[str, str]) -> None:
        """Add `variables` to the environment of the processes."""
        self._variables = variables
        self._processes: set[asyncio.subprocess.Process] = set()

    async def submit(self, job: str, slot: datetime, *, attempt: int) -> str:
        """
        Start a run, and return an empty remark.

        Raises:
            PipelineError: If no process can be started.
        """
        del attempt  # `job_runs` counts attempts
        options = ("--trigger", "schedule", "--json", "--until-stdin-ends")
        try:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "ray_pipeline.cli.collect",
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
        self._processes = {running for running in self._processes if running.returncode is None}
        return ""
