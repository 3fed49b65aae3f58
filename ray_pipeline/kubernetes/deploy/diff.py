"""What an apply would change, field by field; the values of secrets are never told."""

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
LONGEST = 200  # characters of a value that are shown
# Written by the server at every change; they say nothing about what somebody asked for.
SERVERS_OWN = frozenset(
    "managedFields resourceVersion uid generation creationTimestamp selfLink".split()
)
SECRET_NAMES = re.compile(
    r"password|passwd|secret|token|api_?keys?|credential|private_?key|dsn", re.IGNORECASE
)
# These name a secret or say how to use one; what they hold is none.
HARMLESS = re.compile(r"(secret)?(Name|Ref|KeyRef|Key|Namespace|Mode|Path|File)$")
SECRET_LINE = re.compile(rf"(?i)^(.*(?:{SECRET_NAMES.pattern})\S*\s*[:=]\s*).+")
PASSWORD_IN_URL = re.compile(r"(?<=://)([^/@\s:]*):([^/@\s]+)@")


@dataclass(frozen=True, slots=True)
class FieldChange:
    """One field, before and after, as they may be shown."""

    path: str
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class Change:
    """
    What an apply would do to one object.

    Attributes:
        note: What a reader must know beside it: a refusal's reason, or what could not be checked.
    """

    ref: Ref
    state: State
    fields: tuple[FieldChange, ...] = ()
    note: str = ""

    @property
    def counts(self) -> bool:
        """Whether the cluster would be another one afterwards."""
        return self.state != "unchanged"


def compare(live: Json | None, wanted: Json, *, note: str = "") -> Change:
    """
    Compare an object with what the server says it would become.

    Both come from the server, so that its defaults are in both and show no difference.
    """
    ref = ref_of(wanted)
    if live is None:
        return Change(ref, "created", note=note)
    before, after = _asked(live), _asked(wanted)
    hidden = SECRET_DATA if ref.kind == "Secret" else frozenset()
    fields = tuple(
        field
        for name in sorted({*before, *after})
        for field in _fields(before.get(name), after.get(name), name, hidden=name in hidden)
    )
    return Change(ref, "changed" if fields else "unchanged", fields, note)


def _asked(obj: Json) -> Json:
    kept = {name: value for name, value in obj.items() if name not in {"status", "metadata"}}
    metadata = mapping(obj, "metadata")
    return kept | {"metadata": {k: v for k, v in metadata.items() if k not in SERVERS_OWN}}


def _fields(before: object, after: object, path: str, *, hidden: bool) -> Iterator[FieldChange]:
    if before == after:
        return
    old, new = _named(before, other=after), _named(after, other=before)
    if old is not None and new is not None:
        for name in sorted({*old, *new}):
            yield from _fields(
                old.get(name),
                new.get(name),
                path + (name if name.startswith("[") else f".{name}"),
                hidden=hidden or _is_secret(name, old, new),
            )
    elif not hidden and _is_page(before) and _is_page(after):
        yield from _lines(str(before or ""), str(after or ""), path)
    else:
        yield FieldChange(path, _shown(before, hidden=hidden), _shown(after, hidden=hidden))


def _named(value: object, *, other: object) -> Mapping[str, object] | None:
    """Return what a value holds by name, so that each part is compared with its like."""
    if isinstance(value, Mapping):
        return value
    if isinstance(value, list) and value and all(isinstance(one, Mapping) for one in value):
        names = [str(one.get("name", place)) for place, one in enumerate(value)]
        if len(set(names)) == len(names):
            return {f"[{name}]": one for name, one in zip(names, value, strict=True)}
    if value in (None, [], {}) and isinstance(other, Mapping | list) and _named(other, other=0):
        return {}  # all of it is new, or all of it goes: told leaf by leaf
    return None


def _is_secret(name: str, before: Mapping[str, object], after: Mapping[str, object]) -> bool:
    """Say whether the name, or for {"name": "API_KEY", "value": ...} the name beside, is one's."""
    if isinstance(after.get(name, before.get(name)), Mapping | list):
        return False
    owner = str(after.get("name") or before.get("name") or "") if name == "value" else name
    return bool(SECRET_NAMES.search(owner)) and not HARMLESS.search(owner)


def _is_page(value: object) -> bool:
    return value is None or (isinstance(value, str) and "\n" in value)


def _lines(before: str, after: str, path: str) -> Iterator[FieldChange]:
    """Yield the lines that differ of a text, such as a configuration file."""
    lines = difflib.ndiff(before.splitlines(), after.splitlines())
    for line in lines:
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
    return shown if len(shown) <= LONGEST else f"{shown[:LONGEST]}… ({len(shown)} characters)"
