"""Discover the values that the modules of a package define, such as providers and jobs."""

import importlib
import pkgutil
from collections.abc import Collection
from types import ModuleType
from typing import Protocol, TypeVar

from ray_pipeline.errors import PipelineError


class Named(Protocol):
    """A value with a unique name."""

    @property
    def name(self) -> str:
        """Identify the value among those of its package."""


T = TypeVar("T", bound=Named)


def discover(
    package: ModuleType,
    attribute: str,
    kind: type[T],
    *,
    skip: Collection[str],
    guide: str,
) -> tuple[T, ...]:
    """
    Return the value that each module of a package defines, sorted by name.

    Modules with a leading underscore define no value.

    Args:
        package: The package; its subpackages are not searched.
        attribute: The name of the value in each module.
        kind: The type of the value.
        skip: Further modules that define no value.
        guide: The page that explains how to write a module; part of the error.

    Raises:
        PipelineError: If a module does not define the value, or two values have the same name.
    """
    folder = package.__name__.rpartition(".")[2]
    values: dict[str, T] = {}
    for module in pkgutil.iter_modules(package.__path__):
        if module.name.startswith("_") or module.name in skip:
            continue
        imported = importlib.import_module(f"{package.__name__}.{module.name}")
        value = getattr(imported, attribute, None)
        if not isinstance(value, kind):
            raise PipelineError(
                f"{folder}/{module.name}.py defines no {attribute} of type {kind.__name__}",
                fix=f"see {guide}",
            )
        if value.name in values:
            raise PipelineError(f"two modules of {folder} are named {value.name}", fix="rename one")
        values[value.name] = value
    return tuple(values[name] for name in sorted(values))
