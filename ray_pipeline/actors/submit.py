"""Start runs as Ray jobs: each has a process, a log, and an entry in the dashboard."""

import asyncio
import os
import sys
from datetime import datetime

from ray.job_submission import JobSubmissionClient

from ray_pipeline.errors import PipelineError
from ray_pipeline.schedules.due import submission_id
from ray_pipeline.services.fallback_submitter import JobAgentUnavailable

NO_AGENT = "No available agent"  # what the dashboard says when no job agent of the cluster answers


def auth_mode() -> dict[str, str]:
    """Return RAY_AUTH_MODE of this process for the processes that it starts, if it is set."""
    # A variable of Ray, not a setting.
    mode = os.environ.get("RAY_AUTH_MODE")
    return {"RAY_AUTH_MODE": mode} if mode else {}


class RaySubmitter:
    """Submits through Ray's Jobs API."""

    def __init__(self, dashboard_url: str) -> None:
        """Use the API at the dashboard's URL."""
        self._dashboard_url = dashboard_url

    async def submit(self, job: str, slot: datetime, *, attempt: int) -> str:
        """
        Start a run, unless it is submitted already.

        Raises:
            JobAgentUnavailable: If the dashboard or the job agents cannot be reached.
            PipelineError: If Ray rejects it.
        """
        await asyncio.to_thread(self._submit, job, slot, attempt)
        return ""

    def _submit(self, job: str, slot: datetime, attempt: int) -> None:
        name = submission_id(job, slot, attempt)
        command = (
            f"{sys.executable} -m ray_pipeline.cli.collect {job} --slot {slot.isoformat()} "
            "--trigger schedule --json"
        )
        try:
            client = JobSubmissionClient(self._dashboard_url)
            client.submit_job(
                entrypoint=command,
                submission_id=name,
                # The cluster's own environment holds the settings: no key is in the metadata.
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
