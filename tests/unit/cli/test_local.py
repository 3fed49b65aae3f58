"""The commands of the embedded servers."""

import pytest
from typer.testing import CliRunner

from ray_pipeline.cli.local import FAILED, local_app


@pytest.mark.parametrize("command", ["up", "env", "psql", "down", "status"])
def test_an_invalid_setting_is_an_error_without_a_traceback(command, monkeypatch, tmp_path):
    """Every command needs the home, which is a setting."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PIPELINE_FINHUB__REST_URL", "http://rest.example.com")

    result = CliRunner().invoke(local_app, [command])

    assert result.exit_code == FAILED
    assert result.output.startswith("error: PIPELINE_FINHUB__REST_URL is not a setting")
