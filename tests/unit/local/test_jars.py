"""Kafka's jars: where they are, and how Maven downloads them."""

import pytest

from ray_pipeline.errors import MissingDependency, ServerError
from ray_pipeline.local.kafka.jars import MAIN_JAR, fetch_jars, jars_dir


@pytest.fixture
def nothing_installed(tmp_path, monkeypatch):
    """A machine without Java and Maven, and without jars."""
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setenv("PIPELINE_KAFKA_LIBS", str(tmp_path / "kafka" / "libs"))
    return tmp_path


def _install(directory, name: str, script: str) -> None:
    program = directory / "bin" / name
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)


def test_the_jars_are_in_the_users_cache(monkeypatch, tmp_path):
    monkeypatch.delenv("PIPELINE_KAFKA_LIBS", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))

    assert jars_dir() == tmp_path / "ray-pipeline" / "kafka-4.3.1" / "libs"


def test_without_maven_the_package_and_the_way_around_are_named(nothing_installed):
    with pytest.raises(MissingDependency) as caught:
        fetch_jars()

    assert "apt-get install maven" in caught.value.fix
    assert "default broker" in caught.value.fix


def test_jars_that_are_there_need_no_maven(nothing_installed):
    jars_dir().mkdir(parents=True)
    (jars_dir() / MAIN_JAR).touch()

    assert fetch_jars() == jars_dir()


def test_a_failing_maven_is_quoted(nothing_installed):
    _install(nothing_installed, "mvn", "echo no route to the repository; exit 1")

    with pytest.raises(ServerError, match="no route to the repository"):
        fetch_jars()

    assert not jars_dir().exists()
