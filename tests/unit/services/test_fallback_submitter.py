"""Scheduled runs start as processes while Ray's job agent is unavailable."""

from datetime import UTC, datetime

import pytest

from ray_pipeline.errors import PipelineError
from ray_pipeline.services.fallback_submitter import (
    WITHOUT_RAY_S,
    FallbackSubmitter,
    JobAgentUnavailable,
)

SLOT = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


class Submitter:
    """Notes what it was asked to start; fails with `error` while it has one."""

    def __init__(self, error: PipelineError | None = None) -> None:
        self.error = error
        self.asked: list[str] = []

    async def submit(self, job: str, slot: datetime, *, attempt: int) -> str:
        self.asked.append(job)
        if self.error is not None:
            raise self.error
        return ""


class Clock:
    """Shows the time that it is set to."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


async def test_ray_starts_runs_while_it_can():
    """A Ray job has its log and a line in the dashboard."""
    ray, process = Submitter(), Submitter()

    assert await FallbackSubmitter(ray, process).submit("cpi", SLOT, attempt=1) == ""
    assert (ray.asked, process.asked) == (["cpi"], [])


async def test_without_an_agent_a_run_is_a_process_and_the_remark_says_why():
    """A dataset is not left out because a part of Ray is away."""
    ray, process = Submitter(JobAgentUnavailable("no agent answers")), Submitter()

    remark = await FallbackSubmitter(ray, process).submit("cpi", SLOT, attempt=1)

    assert remark == "started as a process: no agent answers"
    assert process.asked == ["cpi"]


async def test_ray_is_left_alone_for_a_while_and_then_tried_again():
    """Each attempt takes the dashboard ten seconds, and forty runs may be due."""
    ray, process, clock = Submitter(JobAgentUnavailable("no agent")), Submitter(), Clock()
    submitter = FallbackSubmitter(ray, process, clock=clock)
    await submitter.submit("cpi", SLOT, attempt=1)
    ray.error = None

    clock.now_s = WITHOUT_RAY_S - 1
    remark = await submitter.submit("news", SLOT, attempt=1)
    clock.now_s = WITHOUT_RAY_S
    await submitter.submit("gdp", SLOT, attempt=1)

    assert remark == "started as a process: no agent"
    assert (ray.asked, process.asked) == (["cpi", "gdp"], ["cpi", "news"])


async def test_a_run_that_ray_refuses_is_no_process():
    """It would fail there for the same reason; the book of runs says why."""
    ray, process = Submitter(PipelineError("bad entrypoint")), Submitter()

    with pytest.raises(PipelineError, match="bad entrypoint"):
        await FallbackSubmitter(ray, process).submit("cpi", SLOT, attempt=1)

    assert process.asked == []
