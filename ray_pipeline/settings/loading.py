"""Read the settings from their sources."""

import os
from collections.abc import Callable, Iterable

import yaml
from pydantic import ValidationError

from ray_pipeline.errors import ConfigurationError
from ray_pipeline.settings.api_keys import endpoint_names
from ray_pipeline.settings.feed_sections import feed_settings
from ray_pipeline.settings.names import explain, unknown_names
from ray_pipeline.settings.settings_value import SETTINGS_FIX, Settings
from ray_pipeline.settings.sources import Sources, config_file, reader


def load(**overrides: object) -> Settings:
    """
    Read the settings.

    Args:
        overrides: Sections that replace those of the other sources, such as `fred={"rest_url": x}`.

    Raises:
        ConfigurationError: If a name is unknown or a value is invalid; the error lists every
            problem.
    """
    # The source of variables ignores unknown names.
    problems = list(unknown_names(os.environ))
    try:
        read: Callable[..., Sources] = reader()
        sources = read(**overrides)
    except ValidationError as error:
        problems += [explain(detail["loc"], detail["msg"]) for detail in error.errors()]
        raise _invalid(problems) from None
    except yaml.YAMLError as error:
        raise _invalid([*problems, _malformed_file(error)]) from None
    except ValueError as error:
        # The source reports a complex value that is not JSON before validation.
        problems.append(f"{error.__cause__ or error}: {error}")
        raise _invalid(problems) from None
    if problems:
        raise _invalid(problems)
    return _settings(sources)


def _settings(sources: Sources) -> Settings:
    values = {name: getattr(sources, name) for name in sources.model_fields_set}
    endpoints = {name: values.pop(name) for name in endpoint_names() if name in values}
    if "feeds" in values:
        values["feeds"] = feed_settings(values["feeds"])
    return Settings(**values, endpoints=endpoints)


def _invalid(problems: Iterable[str]) -> ConfigurationError:
    # A variable with an unknown name in a section is found twice: in the environment, and by the
    # section.
    return ConfigurationError(
        "\n".join(dict.fromkeys(problems)),
        fix=SETTINGS_FIX,
    )


def _malformed_file(error: yaml.YAMLError) -> str:
    # Only the place: the error's text quotes tags and aliases, and a key that begins with "!" or
    # "*" is one.
    mark = getattr(error, "problem_mark", None)
    return f"{config_file()} is not valid YAML" + (f": line {mark.line + 1}" if mark else "")
