"""Start runs as Ray jobs, and as plain processes while Ray cannot start jobs."""

import time
from collections.abc import Callable
from datetime import datetime

from ray_pipeline.batch.slot_scheduler import Submitter
from ray_pipeline.errors import Unavailable

WITHOUT_RAY_S = 60.0  # the dashboard needs ten seconds to find out that no job agent answers


class JobAgentUnavailable(Unavailable):
    """No job agent of the Ray cluster can start a job now. Nothing was submitted."""


class FallbackSubmitter:
    """Submits to Ray; while Ray's job agent is unavailable, starts plain processes instead."""

    def __init__(
        self,
        ray: Submitter,
        process: Submitter,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ray = ray
        self._process = process
        self._clock = clock
        self._ray_again_at_s = -float("inf")
        self._cause = ""

    async def submit(self, job: str, slot: datetime, *, attempt: int) -> str:
        """
        Start a run; return an empty text, or why it is a plain process.

        Raises:
            PipelineError: If the run cannot be started.
        """
        if self._clock() >= self._ray_again_at_s:
            try:
                return await self._ray.submit(job, slot, attempt=attempt)
            except JobAgentUnavailable as error:
                self._cause = str(error)
                self._ray_again_at_s = self._clock() + WITHOUT_RAY_S
        await self._process.submit(job, slot, attempt=attempt)
        return f"started as a process: {self._cause}"
