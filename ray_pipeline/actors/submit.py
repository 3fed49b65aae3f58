"""Start runs as Ray jobs: each has its own process, its log, and a line in the dashboard."""

import asyncio
import os
import sys
import time
from collections.abc import Callable
from datetime import datetime

from ray.job_submission import JobSubmissionClient

from ray_pipeline.batch.slot_scheduler import Submitter
from ray_pipeline.errors import PipelineError, Unavailable
from ray_pipeline.schedules.due import submission_id

NO_AGENT = "No available agent"  # the dashboard's words when no job agent of the cluster answers
WITHOUT_RAY_S = 60.0  # the dashboard takes ten seconds to find out that there is no agent


def auth_mode() -> dict[str, str]:
    """Return RAY_AUTH_MODE of this process, for those that it starts; nothing where it is unset."""
    # A variable of Ray, not a setting.
    mode = os.environ.get("RAY_AUTH_MODE")
    return {"RAY_AUTH_MODE": mode} if mode else {}


class JobAgentUnavailable(Unavailable):
    """Nobody in the Ray cluster can start a job now. Nothing was submitted."""


class RaySubmitter:
    """Submits through Ray's Jobs API."""

    def __init__(self, dashboard_url: str) -> None:
        """Take the dashboard's URL, where that API is served."""
        self._dashboard_url = dashboard_url

    async def submit(self, job: str, slot: datetime, *, attempt: int) -> str:
        """
        Start a run; one that was submitted already is left as it is.

        Raises:
            JobAgentUnavailable: If the dashboard or the job agents cannot be reached.
            PipelineError: If Ray does not take it.
        """
        await asyncio.to_thread(self._submit, job, slot, attempt)
        return ""

    def _submit(self, job: str, slot: datetime, attempt: int) -> None:
        name = submission_id(job, slot, attempt)
        command = (
            f"{sys.executable} -m ray_pipeline.cli.jobs {job} --slot {slot.isoformat()} "
            "--trigger schedule --json"
        )
        try:
            client = JobSubmissionClient(self._dashboard_url)
            client.submit_job(
                entrypoint=command,
                submission_id=name,
                # The settings are in the cluster's own environment: no key is in a job's facts.
                runtime_env={"env_vars": auth_mode()},
                metadata={"job": job, "slot": slot.isoformat(), "attempt": str(attempt)},
                entrypoint_num_cpus=0.1,
            )
        except Exception as error:
            if "already exists" in str(error):
                return
            raise self._failure(name, error) from None

    def _failure(self, name: str, error: Exception) -> PipelineError:
        line = (str(error).splitlines() or [type(error).__name__])[0][:200]
        if isinstance(error, ConnectionError) or NO_AGENT in str(error):
            return JobAgentUnavailable(f"Ray's job agent is unavailable: {line}")
        return PipelineError(
            f"Ray's Jobs API at {self._dashboard_url} did not take {name}: {line}",
            fix="is the dashboard running? PIPELINE_JOBS__SUBMIT=process does without it",
        )


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
        Start a run, and return why it is a process if it is one.

        Raises:
            PipelineError: If neither takes it.
        """
        if self._clock() >= self._ray_again_at_s:
            try:
                return await self._ray.submit(job, slot, attempt=attempt)
            except JobAgentUnavailable as error:
                self._cause = str(error)
                self._ray_again_at_s = self._clock() + WITHOUT_RAY_S
        await self._process.submit(job, slot, attempt=attempt)
        return f"started as a process: {self._cause}"
