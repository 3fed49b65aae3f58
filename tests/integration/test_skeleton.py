"""`ray-pipeline new job`: what it writes works as it is, in a copy of the project."""

import asyncio
import json
import os
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import psycopg
import pytest

from ray_pipeline.cli.skeleton import write
from ray_pipeline.errors import PipelineError
from ray_pipeline.simulators.rest import RestSimulator

ROOT = Path(__file__).parents[2]
NAME = "gross_product"
HIDDEN = shutil.ignore_patterns("__pycache__", "static")


class Project:
    """A copy of the project's code."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.variables: dict[str, str] = {}

    def python(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """Run Python with the copy's package."""
        environment = {**os.environ, **self.variables, "PYTHONPATH": str(self.folder)}
        return subprocess.run(
            [sys.executable, *arguments], cwd=self.folder, env=environment, text=True,
            capture_output=True, check=False, timeout=120,
        )  # fmt: skip

    def pipeline(self, *arguments: str) -> str:
        """Run a command that is to succeed; return what it printed."""
        done = self.python("-m", "ray_pipeline.cli.main", *arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture
def project(tmp_path) -> Project:
    """The copy, with a new job."""
    for name in ("ray_pipeline", "sql"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=HIDDEN)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    one = Project(tmp_path)
    printed = one.pipeline("new", "job", NAME)
    assert printed.count("wrote ") == 3
    return one


@pytest.fixture
async def simulated(project, empty_dsn) -> AsyncIterator[Project]:
    """The copy with a database and a provider."""
    async with RestSimulator() as simulator:
        project.variables = simulator.variables | {
            "PIPELINE_POSTGRES__DSN": empty_dsn,
            "PIPELINE_API_KEYS": json.dumps({"fred": ["key"]}),
            "PIPELINE_HOME": str(project.folder / "home"),
        }
        yield project


def test_its_own_test_passes(project):
    """And it is clean for the linter."""
    tested = project.python("-m", "pytest", "-q", "-p", "no:cacheprovider", "tests")
    linted = project.python("-m", "ruff", "check", "--no-cache", "ray_pipeline/jobs", "tests")
    formatted = project.python("-m", "ruff", "format", "--no-cache", "--check", "tests")

    assert tested.returncode == 0, tested.stdout
    assert "1 passed" in tested.stdout
    assert linted.returncode == 0, linted.stdout
    assert formatted.returncode == 0, formatted.stdout


async def test_it_is_found_and_collects(simulated, empty_dsn):
    """Nothing else has to be touched: it is listed, its table is made, rows come."""
    listed = await in_thread(simulated, "jobs", "--json")
    await in_thread(simulated, "migrate")
    ran = json.loads(await in_thread(simulated, "run", NAME, "--json"))
    again = json.loads(await in_thread(simulated, "run", NAME, "--again", "--json"))
    with psycopg.connect(empty_dsn) as connection:
        rows = connection.execute(f"SELECT count(*), min(source) FROM {NAME}").fetchone()

    (found,) = [one for one in json.loads(listed) if one["name"] == NAME]
    assert (found["sources"], found["tables"]) == (["fred"], [NAME])
    assert ran["state"] == "succeeded"
    assert rows == (ran["rows_new"], "fred")
    assert again["rows_new"] == again["rows_changed"] == 0


async def in_thread(project: Project, *arguments: str) -> str:
    """Run a command while the simulator answers."""
    return await asyncio.to_thread(project.pipeline, *arguments)


@pytest.mark.parametrize("name", ["My-Series", "x", "class", "1st", "a b", "../up"])
def test_what_cannot_be_a_name_is_refused(tmp_path, name):
    """Nothing is written."""
    (tmp_path / "ray_pipeline" / "jobs").mkdir(parents=True)
    (tmp_path / "sql" / "migrations").mkdir(parents=True)

    with pytest.raises(PipelineError, match="cannot be a job's name"):
        write(name, tmp_path)

    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_nothing_is_written_over(project):
    """A second job of the name, or a folder that is no project."""
    before = (project.folder / "ray_pipeline" / "jobs" / f"{NAME}.py").read_text()

    with pytest.raises(PipelineError, match="exists already"):
        write(NAME, project.folder)
    with pytest.raises(PipelineError, match="is not the project's folder"):
        write(NAME, project.folder / "sql")

    assert (project.folder / "ray_pipeline" / "jobs" / f"{NAME}.py").read_text() == before
