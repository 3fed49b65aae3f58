"""Runs of the whole pipeline, cleaned up after each test."""

import pytest

from tests.cluster.support import Run


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
