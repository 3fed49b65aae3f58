"""Discovery of jobs, and of the providers that they name."""

import pytest

from ray_pipeline import catalog, docs, jobs, providers, settings
from ray_pipeline.errors import PipelineError
from ray_pipeline.providers import registry
from ray_pipeline.simulators.rest import RestSimulator
from tests.extra_modules import TEMPERATURES_JOB, WEATHER_PROVIDER, extra_modules


@pytest.fixture
def modules(tmp_path):
    """Packages to which the test can add modules."""
    with extra_modules(tmp_path) as extra:
        yield extra


def test_a_provider_is_one_module(modules, monkeypatch):
    """Settings, their documentation, the simulator and the jobs find it without another edit."""
    modules.add_weather()
    monkeypatch.setenv("PIPELINE_WEATHER__REST_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("PIPELINE_API_KEYS", '{"weather": ["key"]}')

    configured = settings.load()

    assert configured.rest_urls() == {"weather": "http://127.0.0.1:1"}
    assert configured.key_counts()["weather"] == 1
    assert "`PIPELINE_WEATHER__REST_URL`" in docs.settings_page()
    assert "PIPELINE_WEATHER__REST_URL" in RestSimulator().variables
    assert catalog.job("temperatures").sources[0].provider.title == "Weather"


def test_a_job_of_an_unregistered_provider_is_refused(modules):
    """The error says where the provider belongs, before any run begins."""
    modules.add(jobs, "temperatures", TEMPERATURES_JOB.format(provider=WEATHER_PROVIDER))

    with pytest.raises(PipelineError, match=r"(?s)'weather', which is not registered.*weather\.py"):
        catalog.all_jobs()


def test_a_module_without_a_provider_is_refused(modules):
    """A file that is put in the wrong folder is not ignored."""
    modules.add(providers, "weather", "VALUE = 1\n")

    with pytest.raises(PipelineError, match=r"providers/weather\.py defines no PROVIDER"):
        registry.all_providers()


def test_two_modules_with_one_name_are_refused(modules):
    """Settings and the ledger could not tell them apart."""
    modules.add(providers, "weather", WEATHER_PROVIDER.replace("weather", "fred"))

    with pytest.raises(PipelineError, match="two modules of providers define 'fred'"):
        registry.all_providers()


def test_a_provider_with_the_name_of_a_section_is_refused(modules):
    """Its variables would be those of the section."""
    modules.add(providers, "weather", WEATHER_PROVIDER.replace("weather", "kafka"))

    with pytest.raises(PipelineError, match="the provider 'kafka' has the name of a section"):
        settings.load()
