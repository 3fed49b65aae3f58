"""The command line imports the command that was asked for, and not the rest."""

import json
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from ray_pipeline.cli.main import COMMANDS, app

# Each takes most of a second to import.
HEAVY = {"fastapi", "kubernetes", "pyarrow", "ray"}
RUN_AND_TELL_MODULES = """
import json, sys
from typer.testing import CliRunner
from ray_pipeline.cli.main import app
result = CliRunner().invoke(app, sys.argv[1:])
print(json.dumps([result.exit_code, result.output, sorted(sys.modules)]))
"""


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_is_found_under_its_name_and_explains_itself(name: str) -> None:
    found = CliRunner().invoke(app, [name, "--help"], prog_name="ray-pipeline")
    assert found.exit_code == 0, found.output
    assert f"Usage: ray-pipeline {name} " in found.output


def test_help_lists_every_command_by_name() -> None:
    words = CliRunner().invoke(app, ["--help"]).output.split()
    assert {"version", *COMMANDS} <= set(words)


def test_a_misspelt_command_is_answered_with_the_nearest() -> None:
    found = CliRunner().invoke(app, ["statsu"])
    assert found.exit_code == 2
    assert "'status'" in found.output


@pytest.mark.parametrize(
    "arguments", [["version"], ["local", "env", "--help"], ["status", "--help"], ["jobs", "--help"]]
)
def test_a_light_command_imports_nothing_heavy(arguments: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", RUN_AND_TELL_MODULES, *arguments],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    exit_code, output, modules = json.loads(done.stdout)
    assert exit_code == 0, output
    assert not HEAVY & set(modules)


def test_a_command_without_its_extra_says_how_to_install_it(monkeypatch) -> None:
    """The image of the pods has no client for Kubernetes."""
    for module in [name for name in sys.modules if name.startswith("ray_pipeline.cli.deploy")]:
        monkeypatch.delitem(sys.modules, module)
    for module in [name for name in sys.modules if "ray_pipeline.kubernetes" in name]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "kubernetes", None)

    found = CliRunner().invoke(app, ["deploy", "status"])

    assert found.exit_code == 1
    assert "pip install 'ray-pipeline[deploy]'" in found.output
