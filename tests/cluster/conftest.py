"""Runs of the whole pipeline, cleaned up after each test."""

import contextlib
import itertools
import json
import subprocess
import sys

import psycopg
import pytest
import redis
from psycopg.conninfo import make_conninfo

from tests.cluster.support import Run, local_env
from tests.support import end, next_line

_numbers = itertools.count(1)


@pytest.fixture
def start(tmp_path_factory):
    """Starts runs, and cleans up after the test."""
    yield from _starter(tmp_path_factory)


@pytest.fixture(scope="module")
def start_for_module(tmp_path_factory):
    """As `start`, for runs that the tests of a module share."""
    yield from _starter(tmp_path_factory)


def _starter(tmp_path_factory):
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
    """Simulators that allow one connection per key, and the settings that point at them."""
    with (
        simulator("finnhub") as finnhub,
        simulator("bithumb") as bithumb,
        simulator("upbit") as upbit,
    ):
        yield {
            "PIPELINE_FINNHUB__WS_URL": finnhub["url"],
            "PIPELINE_BITHUMB__WS_URL": bithumb["ws_url"],
            "PIPELINE_BITHUMB__REST_URL": bithumb["rest_url"],
            "PIPELINE_UPBIT__WS_URL": upbit["ws_url"],
            "PIPELINE_UPBIT__REST_URL": upbit["rest_url"],
        }


@pytest.fixture
def batch_provider():
    """A simulator of all REST providers, and the settings that point at it."""
    with simulator("rest") as rest:
        yield rest["variables"]


@contextlib.contextmanager
def simulator(name: str):
    """Run a simulator; yield the addresses that it prints."""
    command = [sys.executable, "-m", "ray_pipeline.simulators", name, "--until-stdin-ends"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        yield json.loads(next_line(process, f"the addresses of the simulator {name}"))
    finally:
        end(process)


@pytest.fixture(scope="session")
def lasting_servers(tmp_path_factory):
    """Postgres, Redis and Apache Kafka for all tests that start Ray clusters of their own."""
    base = tmp_path_factory.mktemp("servers")
    for parent in (base, *base.parents[:3]):
        parent.chmod(parent.stat().st_mode | 0o011)
    run = Run(base / "stores", "local", "up", "--broker", "kafka")
    try:
        assert run.wait(120) == 0, run.text()
        yield run, local_env(run)
    finally:
        run.close()


@pytest.fixture
def stores(lasting_servers):
    """A database, topics and an empty Redis for this test only, and the settings for them."""
    run, env = lasting_servers
    name = f"test_{next(_numbers)}"
    usual = env["PIPELINE_POSTGRES__DSN"]
    with psycopg.connect(usual, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    with redis.Redis.from_url(env["PIPELINE_REDIS__URL"]) as client:
        client.flushall()
    run.database = make_conninfo(usual, dbname=name)
    return run, env | {
        "PIPELINE_POSTGRES__DSN": run.database,
        "PIPELINE_KAFKA__TOPIC_PREFIX": f"{name.replace('_', '-')}-",
    }
