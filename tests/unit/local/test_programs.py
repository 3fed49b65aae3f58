"""Postgres' client programs."""

import os

import pytest

from ray_pipeline.errors import ConfigurationError, MissingDependency
from ray_pipeline.local import programs
from ray_pipeline.local.programs import environment, find


def test_the_embedded_program_is_preferred():
    assert find("psql").endswith("pginstall18/bin/psql")


def test_without_the_wheel_a_program_in_path_is_used(tmp_path, monkeypatch):
    monkeypatch.setattr(programs, "PROGRAMS", ("no", "such", "folder"))
    (tmp_path / "psql").touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))

    assert find("psql") == str(tmp_path / "psql")
    with pytest.raises(MissingDependency, match="pg_dump is not installed"):
        find("pg_dump")


def test_a_connection_string_becomes_variables():
    """Every user can read a command's arguments, and these would contain the password."""
    variables = environment("postgresql://ann:secret@db:5433/trades?sslmode=require")

    expected = {
        "PGUSER": "ann",
        "PGPASSWORD": "secret",
        "PGHOST": "db",
        "PGPORT": "5433",
        "PGDATABASE": "trades",
        "PGSSLMODE": "require",
    }
    assert variables == {**os.environ, **expected}


def test_a_parameter_without_a_variable_is_refused_by_name():
    with pytest.raises(ConfigurationError, match="target_session_attrs"):
        environment("postgresql://db/trades?target_session_attrs=any")
