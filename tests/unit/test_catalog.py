"""Discovery of jobs, and of the providers that they name."""

import sys
import textwrap

import pytest

from ray_pipeline import catalog, docs, jobs, providers, settings
from ray_pipeline.errors import PipelineError
from ray_pipeline.providers import registry

PROVIDER = """
    from ray_pipeline.providers.provider import Provider
    from ray_pipeline.providers.quota import SECOND, Quota, sliding

    PROVIDER = Provider(
        "weather", "Weather", "https://weather.example.com", Quota((sliding(1, SECOND),)),
        needs_key=False, free_plan="public",
    )
"""
JOB = """
    from dataclasses import dataclass
    from datetime import date

    from ray_pipeline.jobs.spec import JobSpec, Request, Source
    from ray_pipeline.jobs.table import Table
    from ray_pipeline.schedules.cron import Cron
    {provider}

    @dataclass(frozen=True, slots=True)
    class Temperature:
        date: date
        degrees: int

    def plan(_run):
        yield Request(item="", path="/today")

    def parse(body, _request, _run):
        yield Temperature(date.fromisoformat(body["date"]), body["degrees"])

    SPEC = JobSpec(
        name="temperatures", title="Temperatures", sources=(Source(PROVIDER, plan, parse),),
        tables=(Table("temperatures", Temperature, key=("date",)),), schedule=Cron("0 6 * * *"),
    )
"""


def _forget_discovered():
    catalog.all_jobs.cache_clear()
    registry.all_providers.cache_clear()
    settings.reader.cache_clear()


@pytest.fixture
def add_module(tmp_path, monkeypatch):
    """Return a function that adds a module to a package, until the test ends."""

    def add(package, name, source):
        folder = tmp_path / package.__name__
        folder.mkdir(exist_ok=True)
        (folder / f"{name}.py").write_text(textwrap.dedent(source))
        monkeypatch.setattr(package, "__path__", [*package.__path__, str(folder)])
        monkeypatch.setitem(sys.modules, f"{package.__name__}.{name}", None)
        del sys.modules[f"{package.__name__}.{name}"]
        _forget_discovered()

    yield add
    _forget_discovered()


def test_a_provider_is_one_module(add_module, monkeypatch):
    """Settings, their documentation and the jobs find it without another edit."""
    add_module(providers, "weather", PROVIDER)
    add_module(
        jobs,
        "temperatures",
        JOB.format(provider="from ray_pipeline.providers.weather import PROVIDER"),
    )
    monkeypatch.setenv("PIPELINE_WEATHER__REST_URL", "http://127.0.0.1:1")

    assert settings.load().rest_urls() == {"weather": "http://127.0.0.1:1"}
    assert "`PIPELINE_WEATHER__REST_URL`" in docs.settings_page()
    assert catalog.job("temperatures").sources[0].provider.title == "Weather"


def test_a_job_of_an_unregistered_provider_is_refused(add_module):
    """The error says where the provider belongs, before any run begins."""
    add_module(jobs, "temperatures", JOB.format(provider=PROVIDER))

    with pytest.raises(PipelineError, match=r"(?s)'weather', which is not registered.*weather\.py"):
        catalog.all_jobs()


def test_a_module_without_a_provider_is_refused(add_module):
    """A file that is put in the wrong folder is not ignored."""
    add_module(providers, "weather", "VALUE = 1\n")

    with pytest.raises(PipelineError, match=r"providers/weather\.py defines no PROVIDER"):
        registry.all_providers()


def test_a_provider_with_the_name_of_a_section_is_refused(add_module):
    """Its variables would be those of the section."""
    add_module(providers, "kafka", PROVIDER.replace("weather", "kafka"))

    with pytest.raises(PipelineError, match="the provider 'kafka' has the name of a section"):
        settings.load()
