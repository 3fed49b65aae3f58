"""Which jobs the scheduler runs."""

import pytest

from ray_pipeline.catalog import all_jobs
from ray_pipeline.errors import PipelineError
from ray_pipeline.services.scheduling import scheduled
from ray_pipeline.settings import load


def test_all_jobs_run_unless_the_settings_select_some(monkeypatch):
    everything = scheduled(load())
    monkeypatch.setenv("PIPELINE_JOBS__ONLY", '["cpi", "inflation"]')

    assert everything == list(all_jobs())
    assert [spec.name for spec in scheduled(load())] == ["cpi", "inflation"]


def test_a_job_that_does_not_exist_is_an_error_that_names_it(monkeypatch):
    monkeypatch.setenv("PIPELINE_JOBS__ONLY", '["cip"]')

    with pytest.raises(PipelineError, match="names 'cip', which is no job"):
        scheduled(load())
