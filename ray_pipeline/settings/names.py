"""Names of the settings, for the reference page and for suggestions."""

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TypeGuard

from pydantic.fields import FieldInfo

from ray_pipeline.settings.sections import Section
from ray_pipeline.settings.sources import reader
from ray_pipeline.settings.variables import DELIMITER, PREFIX, variable_name

# Variables with the prefix that are not settings: the folder of Kafka's jars, and the YAML file.
OTHER_NAMES = frozenset({"PIPELINE_KAFKA_LIBS", "PIPELINE_CONFIG"})


@dataclass(frozen=True, slots=True)
class FieldFacts:
    """The documentation of one setting."""

    annotation: str
    default: object
    description: str


def known_names() -> frozenset[str]:
    """Return the name of every setting, as an environment variable."""
    return frozenset(variable_name(path) for path, _ in fields()) | OTHER_NAMES


def fields() -> Iterator[tuple[tuple[str, ...], FieldFacts]]:
    """Yield the path, type, default and description of every setting, in order."""
    for name, info in reader().model_fields.items():
        if _is_section(info.annotation):
            yield from _section_fields((name,), info.annotation)
        else:
            yield (name,), _facts(info)


def _sections() -> Iterator[tuple[str, ...]]:
    """Yield the path of every section: its variable takes all of its values, as JSON."""
    return ((*path[:length],) for path, _ in fields() for length in range(1, len(path)))


def _section_fields(
    path: tuple[str, ...], section: type[Section]
) -> Iterator[tuple[tuple[str, ...], FieldFacts]]:
    for name, info in section.model_fields.items():
        if _is_section(info.annotation):
            yield from _section_fields((*path, name), info.annotation)
        else:
            yield (*path, name), _facts(info)


def _is_section(annotation: object) -> TypeGuard[type[Section]]:
    return isinstance(annotation, type) and issubclass(annotation, Section)


def _facts(info: FieldInfo) -> FieldFacts:
    default = info.get_default(call_default_factory=True)
    return FieldFacts(str(info.annotation), default, info.description or "")


def unknown_names(environ: Mapping[str, str]) -> Iterator[str]:
    names = known_names()
    sections = {variable_name(path) for path in _sections()}
    for name in sorted(environ):
        if name.startswith(PREFIX) and name.upper() not in names | sections:
            yield _suggest(name)


def _suggest(name: str) -> str:
    if name in OTHER_NAMES:
        return f"{name} cannot be set in a file: set it in the environment"
    if feed_names := _names_in_feeds(name.upper()):
        return f"{name} is not a setting; did you mean {' or '.join(feed_names)}?"
    close = difflib.get_close_matches(name.upper(), sorted(known_names()), n=1, cutoff=0.6)
    return f"{name} is not a setting" + (f"; did you mean {close[0]}?" if close else "")


def _names_in_feeds(name: str) -> list[str]:
    """
    Return the settings of feeds for a setting of all streams that releases before feeds had.

    Such a name ends with that of the new setting: PIPELINE_STREAMS__REALTIME_TTL_S became
    PIPELINE_FEEDS__<FEED>__TTL_S. A misspelt setting of the streams is more similar to itself.
    """
    section, _, old = name.removeprefix(PREFIX).partition(DELIMITER)
    if section != "STREAMS":
        return []
    paths = [path for path, _ in fields()]
    streams = [path[-1].upper() for path in paths if path[0] == "streams"]
    if difflib.get_close_matches(old, streams, n=1, cutoff=0.8):
        return []
    feeds = [path for path in paths if path[0] == "feeds" and old.endswith(path[-1].upper())]
    of_feed = [path for path in feeds if old.startswith(path[1].upper())]
    return [variable_name(path) for path in of_feed or feeds]


def explain(location: tuple[int | str, ...], message: str) -> str:
    name = variable_name(location)
    # The source of `.env` reports an unknown name as it is in the file, with the prefix.
    name = name.replace(PREFIX * 2, PREFIX, 1)
    if message.startswith("Extra inputs"):
        return _suggest(name)
    return f"{name}: {message[0].lower()}{message[1:]}"
