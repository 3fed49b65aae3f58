"""Whose keys a command speaks of, and whose keys simulated feeds use."""

import contextlib
import json

import pytest

from ray_pipeline.cli.up import _start_simulators, simulated_keys
from ray_pipeline.local.announced import Announced, announcing, keys_in_use
from ray_pipeline.redact import fingerprint
from ray_pipeline.settings import load

DSN = "postgresql://somebody@127.0.0.1:1/pipeline"


@pytest.fixture
def home(tmp_path, monkeypatch):
    """An empty home, and a shell whose settings name a Postgres and one key."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PIPELINE_HOME", str(tmp_path))
    monkeypatch.setenv("PIPELINE_POSTGRES__DSN", DSN)
    monkeypatch.setenv("PIPELINE_API_KEYS", json.dumps({"fred": ["mine"]}))
    return tmp_path


def said(dsn: str) -> Announced:
    return Announced(
        "127.0.0.1:6379",
        "ray_pipeline",
        keys={"fred": ["a", "b"]},
        stream_keys={"finnhub": 12},
        speed=60,
        postgres=fingerprint(dsn),
    )


def test_a_pipeline_that_runs_here_says_itself_which_keys_it_has(home):
    """Another terminal, which knows nothing of a demo's keys, shows the demo's quotas."""
    with announcing(home, said(DSN)):
        found = keys_in_use(load())

    assert (found.counts(), found.streams, found.speed) == ({"fred": 2}, {"finnhub": 12}, 60)


def test_the_keys_of_another_database_are_not_this_ones(home):
    with announcing(home, said(f"{DSN}2")):
        found = keys_in_use(load())

    assert found.by_provider["fred"] == [fingerprint("mine")]
    assert (found.streams, found.speed) == ({"finnhub": 0}, 1)


def test_without_a_pipeline_they_are_those_of_the_settings(home):
    assert keys_in_use(load()).by_provider["fred"] == [fingerprint("mine")]


@pytest.fixture
def environment(home, monkeypatch):
    """What simulators change in the environment is taken back."""
    for name in ("FINNHUB__WS_URL", "FINNHUB__WS_KEYS", "BITHUMB__WS_URL", "BITHUMB__REST_URL"):
        monkeypatch.setenv(f"PIPELINE_{name}", "")
        monkeypatch.delenv(f"PIPELINE_{name}")
    monkeypatch.setenv("PIPELINE_STREAMS__MARKET_HOURS", "always")


@pytest.mark.usefixtures("environment")
async def test_simulated_feeds_leave_the_keys_of_batch_jobs_alone():
    """Who has keys of other providers keeps them, and no made up key goes to the real Finnhub."""
    async with contextlib.AsyncExitStack() as cleanup:
        assert await _start_simulators(cleanup, demo=False)
        settings = load()

    assert settings.keys("fred") == ["mine"]
    assert settings.keys("finnhub") == []
    keys = settings.stream_keys("finnhub")
    assert len(set(keys)) == len(simulated_keys(settings, "finnhub"))
