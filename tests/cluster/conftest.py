"""Runs of the whole pipeline, cleaned up after each test."""

import json
import subprocess
import sys

import pytest

from tests.cluster.support import Run, local_env


@pytest.fixture
def start(tmp_path_factory):
    """A starter of runs that cleans up after itself."""
    runs = []
    base = tmp_path_factory.mktemp("up")
    for parent in (base, *base.parents[:3]):
        parent.chmod(parent.stat().st_mode | 0o011)

    def starter(name: str, *arguments: str, **environment: str) -> Run:
        run = Run(base / name, *arguments, environment=environment)
        runs.append(run)
        return run

    yield starter
    for run in runs:
        run.close()


@pytest.fixture
def provider():
    """Simulators that let each key have one connection, and the settings that lead there."""
    found = {}
    running = []
    for name in ("finnhub", "bithumb"):
        command = [sys.executable, "-m", "ray_pipeline.simulators", name, "--until-stdin-ends"]
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        running.append(process)
        found[name] = json.loads(process.stdout.readline())
    yield {
        "PIPELINE_FINNHUB__WS_URL": found["finnhub"]["url"],
        "PIPELINE_BITHUMB__WS_URL": found["bithumb"]["ws_url"],
        "PIPELINE_BITHUMB__REST_URL": found["bithumb"]["rest_url"],
    }
    for process in running:
        process.communicate("")


@pytest.fixture
def stores(start):
    """Servers that outlive both releases, and the settings that lead to them."""
    run = start("stores", "local", "up", "--broker", "kafka")
    assert run.wait(120) == 0, run.text()
    return run, local_env(run)
