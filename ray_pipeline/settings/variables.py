"""Settings as environment variables, for child processes."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeGuard

from pydantic import SecretStr

from ray_pipeline.settings.sections import Section

PREFIX = "PIPELINE_"
DELIMITER = "__"


def variable_name(path: tuple[str | int, ...]) -> str:
    """Return the environment variable that sets the value at `path`."""
    return PREFIX + DELIMITER.join(str(part) for part in path).upper()


def explicit(section: Section) -> Iterator[tuple[str, Any]]:
    """Yield the names and values that do not come from the defaults, in order."""
    for name in type(section).model_fields:
        if name in section.model_fields_set:
            yield name, getattr(section, name)


def merged(current: Any, update: Any) -> Any:
    if _is_mapping_of_sections(current):
        return current | {name: merged(current[name], value) for name, value in update.items()}
    if not isinstance(current, Section):
        return update
    return type(current)(**dict(explicit(current)) | update)


def variables(path: tuple[str, ...], values: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    for name, value in values.items():
        if isinstance(value, Section):
            yield from variables((*path, name), dict(explicit(value)))
        elif _is_mapping_of_sections(value):
            yield from variables((*path, name), value)
        elif value is not None:
            yield variable_name((*path, name)), _as_text(value)


def _is_mapping_of_sections(value: object) -> TypeGuard[dict[str, Section]]:
    return isinstance(value, dict) and any(isinstance(each, Section) for each in value.values())


def _as_text(value: object) -> str:
    if isinstance(value, SecretStr | str | Path):
        return _unquoted(value)
    return json.dumps(value, default=_unquoted)


def _unquoted(value: object) -> str:
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    if isinstance(value, str | Path):
        return str(value)
    raise TypeError(f"a setting of type {type(value).__name__} has no text")
