"""The changes that an apply would make, field by field. Values of secrets are never shown."""

import difflib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from ray_pipeline.kubernetes.deploy.objects import Json, Ref, mapping, ref_of

State = Literal["created", "changed", "replaced", "unchanged", "removed", "conflict", "refused"]

HIDDEN = "(secret)"
NOTHING = "(none)"
SECRET_DATA = frozenset({"data", "stringData"})
MAX_CHARACTERS = 200  # of a value that is shown
# The server writes these at every change. The manifests never set them.
SERVER_FIELDS = frozenset(
    "managedFields resourceVersion uid generation creationTimestamp selfLink".split()
)
SECRET_NAMES = re.compile(
    r"password|passwd|secret|token|api_?keys?|credential|private_?key|dsn", re.IGNORECASE
)
# These fields name a secret or say how to use it. They do not hold its value.
HARMLESS = re.compile(r"(secret)?(Name|Ref|KeyRef|Key|Namespace|Mode|Path|File)$")
SECRET_LINE = re.compile(rf"(?i)^(.*(?:{SECRET_NAMES.pattern})\S*\s*[:=]\s*).+")
PASSWORD_IN_URL = re.compile(r"(?<=://)([^/@\s:]*):([^/@\s]+)@")


@dataclass(frozen=True, slots=True)
class FieldChange:
    """One field, before and after, without secret values."""

    path: str
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class Change:
    """
    The effect of an apply on one object.

    Attributes:
        note: The reason of a refusal, or a check that the server could not make.
    """

    ref: Ref
    state: State
    fields: tuple[FieldChange, ...] = ()
    note: str = ""

    @property
    def counts(self) -> bool:
        """Whether the apply changes the cluster."""
        return self.state != "unchanged"


def compare(live: Json | None, desired: Json) -> Change:
    """
    Compare an object with the server's answer to a dry run.

    Both come from the server, so both contain its defaults. A comparison with the manifest itself
    would report each default as a difference.
    """
    ref = ref_of(desired)
    if live is None:
        return Change(ref, "created")
    before, after = _without_server_fields(live), _without_server_fields(desired)
    hidden = SECRET_DATA if ref.kind == "Secret" else frozenset()
    fields = tuple(
        field
        for name in sorted({*before, *after})
        for field in _fields(before.get(name), after.get(name), name, hidden=name in hidden)
    )
    return Change(ref, "changed" if fields else "unchanged", fields)


def _without_server_fields(obj: Json) -> Json:
    metadata = mapping(obj, "metadata")
    return {name: value for name, value in obj.items() if name != "status"} | {
        "metadata": {key: value for key, value in metadata.items() if key not in SERVER_FIELDS}
    }


def _fields(before: object, after: object, path: str, *, hidden: bool) -> Iterator[FieldChange]:
    """Yield the leaves that differ, in order of their paths."""
    if before == after:
        return
    # Descend while both sides have named parts. Text of several lines is compared line by line.
    # Everything else is a leaf.
    old, new = _parts(before, counterpart=after), _parts(after, counterpart=before)
    if old is not None and new is not None:
        for name in sorted({*old, *new}):
            yield from _fields(
                old.get(name),
                new.get(name),
                path + (name if name.startswith("[") else f".{name}"),
                hidden=hidden or _is_secret(name, old, new),
            )
    elif not hidden and _is_multiline(before) and _is_multiline(after):
        yield from _lines(str(before or ""), str(after or ""), path)
    else:
        yield FieldChange(path, _shown(before, hidden=hidden), _shown(after, hidden=hidden))


def _parts(value: object, *, counterpart: object) -> Mapping[str, object] | None:
    """Return the parts of a mapping, or of a list of mappings by their names; None for a leaf."""
    if isinstance(value, Mapping):
        return value
    if isinstance(value, list) and value and all(isinstance(item, Mapping) for item in value):
        # By name, so that a container put in front of another does not change both. Without
        # unique names, the position has to do.
        names = [str(item.get("name", index)) for index, item in enumerate(value)]
        if len(set(names)) == len(names):
            return {f"[{name}]": item for name, item in zip(names, value, strict=True)}
    is_container = isinstance(counterpart, Mapping | list)
    if value in (None, [], {}) and is_container and _parts(counterpart, counterpart=0):
        return {}  # everything is new, or everything goes: report it leaf by leaf
    return None


def _is_secret(name: str, before: Mapping[str, object], after: Mapping[str, object]) -> bool:
    """Say whether a leaf is secret by its name; {"name": "API_KEY", "value": ...} counts too."""
    if isinstance(after.get(name, before.get(name)), Mapping | list):
        return False
    label = str(after.get("name") or before.get("name") or "") if name == "value" else name
    return bool(SECRET_NAMES.search(label)) and not HARMLESS.search(label)


def _is_multiline(value: object) -> bool:
    return value is None or (isinstance(value, str) and "\n" in value)


def _lines(before: str, after: str, path: str) -> Iterator[FieldChange]:
    """Yield the lines that differ in a text, such as a configuration file."""
    for line in difflib.ndiff(before.splitlines(), after.splitlines()):
        shown = _shown(SECRET_LINE.sub(rf"\1{HIDDEN}", line[2:]), hidden=False)
        if line.startswith("- "):
            yield FieldChange(path, shown, NOTHING)
        elif line.startswith("+ "):
            yield FieldChange(path, NOTHING, shown)


def _shown(value: object, *, hidden: bool) -> str:
    if value is None:
        return NOTHING
    if hidden:
        return HIDDEN
    shown = value if isinstance(value, str) else json.dumps(value, sort_keys=True)
    shown = PASSWORD_IN_URL.sub(r"\1:***@", shown)
    too_long = len(shown) > MAX_CHARACTERS
    return f"{shown[:MAX_CHARACTERS]}… ({len(shown)} characters)" if too_long else shown
