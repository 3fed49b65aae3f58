"""Modules that a test adds to packages of the project."""

import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import pytest

from ray_pipeline import catalog, jobs, providers
from ray_pipeline.providers import registry
from ray_pipeline.settings.sources import reader

WEATHER_PROVIDER = """
from ray_pipeline.providers.provider import Provider
from ray_pipeline.providers.quota import SECOND, Quota, sliding

PROVIDER = Provider(
    "weather", "Weather", "https://weather.example.com", Quota((sliding(1, SECOND),)),
    auth="query", auth_name="key", free_plan="1 call a second",
)
"""
IMPORT_WEATHER = "from ray_pipeline.providers.weather import PROVIDER"
TEMPERATURES_JOB = """
from dataclasses import dataclass
from datetime import date

from ray_pipeline.jobs.spec import WHOLE, Empty, JobSpec, Request, Source
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
    name="temperatures", title="Temperatures",
    sources=(Source(PROVIDER, plan, parse, empty=Empty.FAILURE, least=WHOLE),),
    tables=(Table("temperatures", Temperature, key=("date",)),), schedule=Cron("0 6 * * *"),
)
"""


class ExtraModules:
    """Adds modules, as if their files were in the package's folder."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._folder = folder
        self._monkeypatch = monkeypatch

    def add(self, package: ModuleType, name: str, source: str) -> None:
        """Add a module to a package."""
        folder = self._folder / package.__name__
        folder.mkdir(exist_ok=True)
        (folder / f"{name}.py").write_text(textwrap.dedent(source))
        self._monkeypatch.setattr(package, "__path__", [*package.__path__, str(folder)])
        forget_discovered()

    def add_weather(self) -> None:
        """Add a provider and a job that it serves."""
        self.add(providers, "weather", WEATHER_PROVIDER)
        self.add(jobs, "temperatures", TEMPERATURES_JOB.format(provider=IMPORT_WEATHER))


@contextmanager
def extra_modules(folder: Path) -> Iterator[ExtraModules]:
    """Forget the added modules when the block ends."""
    before = set(sys.modules)
    with pytest.MonkeyPatch.context() as monkeypatch:
        yield ExtraModules(folder, monkeypatch)
    for name in set(sys.modules) - before:
        if name.endswith((".weather", ".temperatures")):
            del sys.modules[name]
    forget_discovered()


def forget_discovered() -> None:
    """Discover providers and jobs again at the next use."""
    catalog.all_jobs.cache_clear()
    registry.all_providers.cache_clear()
    reader.cache_clear()
