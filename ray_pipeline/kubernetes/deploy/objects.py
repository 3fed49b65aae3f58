"""Kubernetes objects as plain JSON: their references, and access to the values inside them."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

Json = dict[str, object]

FIELD_MANAGER = "ray-pipeline"


@dataclass(frozen=True, slots=True, order=True)
class Ref:
    """The identity of one object; `namespace` is empty for cluster-wide kinds."""

    api_version: str
    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}" if self.namespace else self.short

    @property
    def short(self) -> str:
        """The kind and the name, without the namespace."""
        return f"{self.kind} {self.name}"

    @property
    def group(self) -> str:
        """The API group; empty for the core group."""
        return group_of(self.api_version)


def group_of(api_version: str) -> str:
    """Return the API group of "group/version"; empty for the core group's "v1"."""
    return api_version.rpartition("/")[0]


def ref_of(obj: Json) -> Ref:
    """Return the object's reference."""
    return Ref(text(obj, "apiVersion"), kind_of(obj), namespace_of(obj), name_of(obj))


def kind_of(obj: Json) -> str:
    """Return the object's kind."""
    return text(obj, "kind")


def name_of(obj: Json) -> str:
    """Return the object's name."""
    return text(obj, "metadata", "name")


def namespace_of(obj: Json) -> str:
    """Return the object's namespace; empty if the object names no namespace."""
    return text(obj, "metadata", "namespace")


def annotation(obj: Json, name: str) -> str:
    """Return the annotation of that name; empty if it is not set."""
    return text(obj, "metadata", "annotations", name)


def of_kind(objects: Iterable[Json], kind: str) -> list[Json]:
    """Return the objects of a kind."""
    return [obj for obj in objects if kind_of(obj) == kind]


def by_name(objects: Iterable[Json], kind: str) -> dict[str, Json]:
    """Return the objects of a kind by name."""
    return {name_of(obj): obj for obj in of_kind(objects, kind)}


def selects(selector: Json, labels: Json) -> bool:
    """Say whether the selector matches the labels; an empty selector matches nothing here."""
    return bool(selector) and all(labels.get(name) == value for name, value in selector.items())


def dig(value: object, *path: str | int) -> object:
    """Return the value at the path; None if the path does not exist."""
    for step in path:
        if isinstance(step, str) and isinstance(value, Mapping):
            value = value.get(step)
        elif isinstance(step, int) and isinstance(value, list) and len(value) > step:
            value = value[step]
        else:
            return None
    return value


def text(value: object, *path: str | int) -> str:
    """Return the value at the path as text; empty if the path does not exist."""
    leaf = dig(value, *path)
    return "" if leaf is None else str(leaf)


def mapping(value: object, *path: str | int) -> Json:
    """Return the mapping at the path; an empty one if the path does not exist."""
    leaf = dig(value, *path)
    return leaf if isinstance(leaf, dict) else {}


def elements(value: object, *path: str | int) -> list[object]:
    """Return the list at the path; an empty one if the path does not exist."""
    leaf = dig(value, *path)
    return leaf if isinstance(leaf, list) else []


def items(value: object, *path: str | int) -> list[Json]:
    """Return the mappings in the list at the path; an empty list if the path does not exist."""
    return [item for item in elements(value, *path) if isinstance(item, dict)]


def number(value: object, *path: str | int, default: int = 0) -> int:
    """Return the integer at the path."""
    leaf = dig(value, *path)
    return leaf if isinstance(leaf, int) and not isinstance(leaf, bool) else default


def condition(obj: Json, kind: str) -> Json:
    """Return the status condition of that type; an empty one if it does not exist."""
    conditions = items(obj, "status", "conditions")
    return next((item for item in conditions if item.get("type") == kind), {})


def is_true(obj: Json, kind: str) -> bool:
    """Say whether the condition of that type is true."""
    return condition(obj, kind).get("status") == "True"


def reason_of(status: Json) -> str:
    """Return the reason and the message of a condition, or of a status; empty without both."""
    return ": ".join(filter(None, (text(status, "reason"), text(status, "message"))))


def fields(value: object) -> Iterator[tuple[str, object]]:
    """Yield every field in the value at any depth, parents first; a list yields its elements."""
    if isinstance(value, dict):
        for name, child in value.items():
            for element in child if isinstance(child, list) else [child]:
                yield name, element
                yield from fields(element)


def pod_templates(obj: Json) -> Iterator[Json]:
    """Yield the metadata and spec of every pod that the object describes, at any depth."""
    for _, value in (("", obj), *fields(obj)):
        if isinstance(value, dict) and "containers" in mapping(value, "spec"):
            yield value
