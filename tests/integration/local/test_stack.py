"""The servers of a home: start, reattachment, two homes, stop."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import psycopg
import pytest
import redis
from typer.testing import CliRunner

from ray_pipeline.cli.local import local_app
from ray_pipeline.errors import ServerError
from ray_pipeline.local import stack
from ray_pipeline.local.process import ServerProcess
from ray_pipeline.local.state import locked, read_state

SMALL = frozenset({"redis", "kafka"})  # the two servers with the shortest start


@pytest.fixture
def home(tmp_path) -> Iterator[Path]:
    yield tmp_path / "home"
    stack.down(tmp_path / "home")


@pytest.fixture
def cli(home, monkeypatch):
    monkeypatch.setenv("PIPELINE_HOME", str(home))
    return lambda *arguments: CliRunner().invoke(local_app, arguments)


def test_up_starts_all_and_down_stops_all(home):
    servers = stack.up(home)
    pids = [record.pid for record in read_state(home).values()]
    with psycopg.connect(servers.postgres_dsn), redis.Redis.from_url(servers.redis_url) as client:
        client.ping()
    assert servers.broker == "tansu"

    stack.down(home)

    assert len(pids) == 3
    assert not any(psutil.pid_exists(pid) for pid in pids)
    assert stack.running(home) == stack.LocalServers()


def test_a_second_up_uses_what_runs(home):
    first, records = stack.up(home, need=SMALL), read_state(home)

    assert stack.up(home, need=SMALL) == first
    assert read_state(home) == records


def test_up_starts_only_what_is_needed(home):
    servers = stack.up(home, need=frozenset({"redis"}))

    assert servers.redis_url is not None
    assert servers.postgres_dsn is None
    assert servers.kafka_bootstrap_servers is None


def test_two_homes_run_side_by_side(home, tmp_path):
    other = tmp_path / "other"
    one, two = stack.up(home, need=SMALL), stack.up(other, need=SMALL)
    with (
        redis.Redis.from_url(one.redis_url) as first,
        redis.Redis.from_url(two.redis_url) as second,
    ):
        first.set("home", "one")
        assert second.get("home") is None

    stack.down(other)

    assert stack.running(home) == one


def test_a_killed_server_is_started_again_on_its_data_and_its_port(home):
    """Clients find it at the same address."""
    before = stack.up(home)
    with psycopg.connect(before.postgres_dsn) as connection:
        connection.execute("CREATE TABLE kept ()")
    _process(home, "postgres").kill()

    after = stack.up(home)

    assert after == before
    with psycopg.connect(after.postgres_dsn) as connection:
        connection.execute("TABLE kept")


def test_a_server_that_does_not_answer_is_started_again(home, monkeypatch):
    """A server that is alive but does not answer is restarted."""
    monkeypatch.setattr(stack, "ANSWER_S", 0.1)
    stack.up(home, need=SMALL)
    frozen = _process(home, "valkey")
    frozen.pause()

    servers = stack.up(home, need=SMALL)

    assert not frozen.running
    with redis.Redis.from_url(servers.redis_url) as client:
        assert client.ping()


def test_a_port_that_was_taken_meanwhile_is_replaced(home):
    stack.up(home, need=frozenset({"redis"}))
    stack.down(home)
    port = read_state(home)["valkey"].port

    with socket.create_server(("127.0.0.1", port)):
        servers = stack.up(home, need=frozenset({"redis"}))

    with redis.Redis.from_url(servers.redis_url) as client:
        assert client.ping()
    assert read_state(home)["valkey"].port != port


def test_another_broker_replaces_the_running_one(home):
    stack.up(home, need=frozenset({"kafka"}))

    servers = stack.up(home, broker="kafka", need=frozenset({"kafka"}))

    assert servers.broker == "kafka"
    assert stack.running(home) == servers
    assert set(read_state(home)) == {"kafka"}
    assert stack.up(home, need=frozenset({"kafka"})) == servers, "the last choice is remembered"


def test_another_process_with_the_pid_of_a_server_is_not_stopped(home):
    stack.up(home, need=frozenset({"redis"}))
    record = read_state(home)["valkey"]
    reused = replace(record, pid=os.getpid())
    stack.write_state(home, {"valkey": reused})

    stack.down(home)  # would end this test

    stack.write_state(home, {"valkey": record})


def test_two_starts_at_once_in_one_home_are_refused(home):
    with (
        locked(home, "servers", doing="starting or stopping servers"),
        pytest.raises(ServerError, match=f"pid {os.getpid()} is starting or stopping"),
    ):
        stack.up(home)


def test_a_claimed_home_is_refused_to_a_second_pipeline(home):
    with (
        stack.claim(home),
        pytest.raises(ServerError, match="is running a pipeline"),
        stack.claim(home),
    ):
        pass


def test_a_home_with_a_very_long_path_works(tmp_path):
    home = tmp_path / ("long" * 30)

    servers = stack.up(home, need=frozenset({"postgres"}))

    with psycopg.connect(servers.postgres_dsn):
        stack.down(home)


def test_files_with_passwords_are_closed_to_other_users(home):
    stack.up(home)

    for path in (home / "postgres" / "password", home / "valkey" / "valkey.conf"):
        assert path.stat().st_mode & 0o077 == 0, path


def test_the_commands_start_show_and_stop(cli, home):
    up = cli("up")
    env = cli("env")
    status = cli("status")
    down = cli("down")

    assert "starting PostgreSQL" in up.stderr
    assert up.stdout == ""
    for name in ("POSTGRES__DSN", "REDIS__URL", "KAFKA__BOOTSTRAP_SERVERS", "KAFKA__IDEMPOTENCE"):
        assert f"export PIPELINE_{name}=" in env.stdout
    assert status.stdout.count("127.0.0.1:") == 3
    assert "stopping PostgreSQL" in down.stderr
    assert cli("status").stdout.count("not running") == 3


def test_env_without_servers_says_how_to_start_them(cli):
    result = cli("env")

    assert result.exit_code == 1
    assert result.stdout == ""
    assert "ray-pipeline local up" in result.stderr


def test_status_shows_no_password(cli, home):
    stack.up(home)

    shown = cli("status").output

    assert (home / "postgres" / "password").read_text() not in shown
    assert (home / "valkey" / "password").read_text() not in shown


def test_an_unknown_broker_is_refused_with_the_known_ones(cli):
    result = cli("up", "--broker", "rabbit")

    assert result.exit_code == 2
    assert "'tansu'" in result.stderr


def test_down_leaves_the_servers_of_a_running_pipeline_alone(cli, home):
    with stack.claim(home):
        result = cli("down")

    assert result.exit_code == 2
    assert f"pid {os.getpid()} is running a pipeline" in result.stderr


def test_down_without_a_home_does_nothing(tmp_path):
    stack.down(tmp_path / "never")

    assert not (tmp_path / "never").exists()


def _process(home: Path, kind: str) -> ServerProcess:
    record = read_state(home)[kind]
    return ServerProcess(kind, log=home / "log", identity=record.identity)


def test_psql_opens_the_database_of_the_home(home):
    """With the embedded server's psql, on a machine without one."""
    ask = [sys.executable, "-m", "ray_pipeline.cli.main", "local", "psql"]
    environment = os.environ | {"PIPELINE_HOME": str(home), "PATH": os.defpath}

    def asked(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*ask, *arguments],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )

    refused = asked()
    stack.up(home, need=frozenset({"postgres"}))

    assert asked("-At", "-c", "SELECT current_database()").stdout == "pipeline\n"
    assert asked("-c", "SELECT 1 / 0").returncode == 1
    assert refused.returncode == 2
    assert "ray-pipeline local up" in refused.stderr
