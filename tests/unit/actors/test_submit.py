"""Starting a run as a Ray job: the job's content, and what an error of Ray's API means."""

import sys
from datetime import UTC, datetime

import pytest

from ray_pipeline.actors import submit
from ray_pipeline.actors.submit import RaySubmitter, auth_mode
from ray_pipeline.errors import PipelineError
from ray_pipeline.services.fallback_submitter import JobAgentUnavailable

SLOT = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
URL = "http://localhost:8265"


class FakeJobs:
    """Ray's Jobs API; refuses with `failure`."""

    def __init__(self) -> None:
        self.jobs: list[dict] = []
        self.urls: list[str] = []
        self.failure: Exception | None = None

    def client(self, url: str) -> "FakeJobs":
        self.urls.append(url)
        return self

    def submit_job(self, **job: object) -> str:
        if self.failure is not None:
            raise self.failure
        self.jobs.append(job)
        return str(job["submission_id"])


@pytest.fixture
def jobs(monkeypatch):
    created = FakeJobs()
    monkeypatch.setattr(submit, "JobSubmissionClient", created.client)
    return created


async def test_a_job_runs_one_slot_with_the_interpreter_of_the_scheduler(jobs):
    """Another interpreter may not have the package."""
    assert await RaySubmitter(URL).submit("news", SLOT, attempt=1) == ""

    (job,) = jobs.jobs
    assert jobs.urls == [URL]
    assert job["submission_id"] == "news-20261123T120000Z"
    assert job["entrypoint"] == (
        f"{sys.executable} -m ray_pipeline.cli.collect news --slot 2026-11-23T12:00:00+00:00 "
        "--trigger schedule --json"
    )
    assert job["metadata"] == {
        "job": "news", "slot": "2026-11-23T12:00:00+00:00", "attempt": "1",
    }  # fmt: skip


async def test_another_attempt_is_another_job(jobs):
    """Ray accepts each name only once."""
    for attempt in (1, 2):
        await RaySubmitter(URL).submit("news", SLOT, attempt=attempt)

    names = [job["submission_id"] for job in jobs.jobs]
    assert names == ["news-20261123T120000Z", "news-20261123T120000Z-2"]


@pytest.mark.parametrize("mode", ["token", None])
async def test_of_the_environment_only_the_mode_of_authentication_is_passed_on(
    jobs, monkeypatch, mode
):
    """The dashboard shows a job's environment: a key in it would be public."""
    monkeypatch.setenv("PIPELINE_KEYS__FINNHUB", "secret")
    monkeypatch.delenv("RAY_AUTH_MODE", raising=False)
    if mode is not None:
        monkeypatch.setenv("RAY_AUTH_MODE", mode)
    expected = {"RAY_AUTH_MODE": mode} if mode else {}

    await RaySubmitter(URL).submit("news", SLOT, attempt=1)

    assert auth_mode() == expected
    assert jobs.jobs[0]["runtime_env"] == {"env_vars": expected}
    assert "secret" not in str(jobs.jobs)


async def test_a_job_that_exists_was_submitted_already(jobs):
    """A scheduler that crashed after the submission submits again."""
    jobs.failure = RuntimeError("Job with submission_id news-20261123T120000Z already exists.")

    assert await RaySubmitter(URL).submit("news", SLOT, attempt=1) == ""


@pytest.mark.parametrize(
    "failure",
    [
        ConnectionError("Failed to connect to Ray at address: http://localhost:8265."),
        RuntimeError("Request failed with status code 500: No available agent to submit job"),
    ],
)
async def test_without_a_job_agent_the_run_can_start_in_another_way(jobs, failure):
    """The fallback starts a process only for this error."""
    jobs.failure = failure

    with pytest.raises(JobAgentUnavailable, match="Ray's job agent is unavailable"):
        await RaySubmitter(URL).submit("news", SLOT, attempt=1)


@pytest.mark.parametrize(
    ("failure", "line"),
    [
        (RuntimeError("bad metadata\n  Traceback of the server"), "bad metadata"),
        (RuntimeError(""), "RuntimeError"),
        (RuntimeError("x" * 1_000), "x" * 200),
    ],
)
async def test_another_error_is_reported_in_one_line_with_a_fix(jobs, failure, line):
    """The answer may hold the traceback of the server."""
    jobs.failure = failure

    with pytest.raises(PipelineError) as raised:
        await RaySubmitter(URL).submit("news", SLOT, attempt=1)

    text, _, fix = str(raised.value).partition("\n")
    assert not isinstance(raised.value, JobAgentUnavailable)
    assert text == f"Ray's Jobs API at {URL} did not take news-20261123T120000Z: {line}"
    assert "PIPELINE_JOBS__SUBMIT=process" in fix
