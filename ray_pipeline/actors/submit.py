"""Start runs as Ray jobs: each has its own process, its log, and a line in the dashboard."""

import asyncio
import os
import sys
from datetime import datetime

from ray.job_submission import JobSubmissionClient

from ray_pipeline.errors import PipelineError
from ray_pipeline.schedules.due import submission_id

# Workers read the settings from the cluster's own environment, so that no key is in a job's facts.
PASSED_ON = ("RAY_AUTH_MODE",)


class RaySubmitter:
    """Submits through Ray's Jobs API."""

    def __init__(self, dashboard_url: str) -> None:
        """Take the dashboard's URL, where that API is served."""
        self._dashboard_url = dashboard_url

    async def submit(self, job: str, slot: datetime, *, attempt: int) -> None:
        """
        Start a run; one that was submitted already is left as it is.

        Raises:
            PipelineError: If Ray does not take it.
        """
        await asyncio.to_thread(self._submit, job, slot, attempt)

    def _submit(self, job: str, slot: datetime, attempt: int) -> None:
        name = submission_id(job, slot, attempt)
        command = (
            f"{sys.executable} -m ray_pipeline.commands.jobs {job} --slot {slot.isoformat()} "
            "--trigger schedule --json"
        )
        variables = {
            variable: os.environ[variable] for variable in PASSED_ON if variable in os.environ
        }
        try:
            client = JobSubmissionClient(self._dashboard_url)
            client.submit_job(
                entrypoint=command,
                submission_id=name,
                runtime_env={"env_vars": variables},
                metadata={"job": job, "slot": slot.isoformat(), "attempt": str(attempt)},
                entrypoint_num_cpus=0.1,
            )
        except Exception as error:
            if "already exists" in str(error):
                return
            line = (str(error).splitlines() or [type(error).__name__])[0]
            raise PipelineError(
                f"Ray's Jobs API at {self._dashboard_url} did not take {name}: {line[:200]}",
                fix="is the dashboard running? PIPELINE_JOBS__SUBMIT=process does without it",
            ) from None
