"""Kubernetes objects as plain JSON: what names one, and reading inside of it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

Json = dict[str, object]

FIELD_MANAGER = "ray-pipeline"


@dataclass(frozen=True, slots=True, order=True)
class Ref:
    """What names one object in a cluster; `namespace` is empty where the kind has none."""

    api_version: str
    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}" if self.namespace else self.short

    @property
    def short(self) -> str:
        """The name without its namespace."""
        return f"{self.kind} {self.name}"

    @property
    def group(self) -> str:
        """The API group; empty for the core's."""
        return group_of(self.api_version)


def group_of(api_version: str) -> str:
    """Return the API group of "group/version"; empty for the core's "v1"."""
    return api_version.rpartition("/")[0]


def ref_of(obj: Json) -> Ref:
    """Return what names the object."""
    return Ref(
        text(obj, "apiVersion"),
        text(obj, "kind"),
        text(obj, "metadata", "namespace"),
        text(obj, "metadata", "name"),
    )


def dig(value: object, *path: str | int) -> object:
    """Return what is at the path; None where there is nothing."""
    for step in path:
        if isinstance(step, str) and isinstance(value, Mapping):
            value = value.get(step)
        elif isinstance(step, int) and isinstance(value, list) and len(value) > step:
            value = value[step]
        else:
            return None
    return value


def text(value: object, *path: str | int) -> str:
    """Return the text at the path; empty where there is none."""
    found = dig(value, *path)
    return "" if found is None else str(found)


def mapping(value: object, *path: str | int) -> Json:
    """Return the mapping at the path; empty where there is none."""
    found = dig(value, *path)
    return found if isinstance(found, dict) else {}


def items(value: object, *path: str | int) -> list[Json]:
    """Return the mappings of the list at the path; empty where there is none."""
    found = dig(value, *path)
    return [item for item in found if isinstance(item, dict)] if isinstance(found, list) else []


def number(value: object, *path: str | int, default: int = 0) -> int:
    """Return the whole number at the path."""
    found = dig(value, *path)
    return found if isinstance(found, int) and not isinstance(found, bool) else default


def condition(obj: Json, kind: str) -> Json:
    """Return the status condition of that type; empty where there is none."""
    found = (one for one in items(obj, "status", "conditions") if one.get("type") == kind)
    return next(found, {})


def is_true(obj: Json, kind: str) -> bool:
    """Say whether the condition of that type holds."""
    return condition(obj, kind).get("status") == "True"


def pod_templates(obj: Json) -> Iterator[Json]:
    """Yield every pod that the object describes, however deep it is written: metadata and spec."""
    if "containers" in mapping(obj, "spec"):
        yield obj
    for value in obj.values():
        children: Sequence[object] = value if isinstance(value, list) else [value]
        for child in children:
            if isinstance(child, dict):
                yield from pod_templates(child)


def pod_specs(obj: Json) -> Iterator[Json]:
    """Yield the spec of every pod that the object describes, however deep it is written."""
    return (mapping(template, "spec") for template in pod_templates(obj))


def annotation(obj: Json, name: str) -> str:
    """Return the annotation of that name; empty where there is none."""
    return text(obj, "metadata", "annotations", name)
