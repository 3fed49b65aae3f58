"""
Check objects against schemas, without a cluster: strictly, so that a misspelt field is an error.

The core's come with the package `kubernetes-validate`, the others from CRD files. Rules in CEL are
not evaluated here; the API server does that in a dry run (`ray-pipeline deploy plan`).
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft202012Validator
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

from ray_pipeline.errors import MissingDependency
from ray_pipeline.kubernetes.deploy.objects import Json, ref_of
from ray_pipeline.kubernetes.manifests.finding import Finding, fault

KUBERNETES = "v1.36.0"
Kinds = Mapping[tuple[str, str], Json]
"""A schema by apiVersion and kind."""
LONGEST = 300
INT_OR_STRING = {"anyOf": [{"type": "integer"}, {"type": "string"}]}


def read_crds(folder: Path) -> dict[tuple[str, str], Json]:
    """Return the schemas of all served versions of the CRDs in the folder's YAML files."""
    found: dict[tuple[str, str], Json] = {}
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    for path in sorted(folder.rglob("*.yaml")):
        for document in yaml.load_all(path.read_text(), Loader=loader):
            if not isinstance(document, dict) or document.get("kind") != "CustomResourceDefinition":
                continue
            spec = document["spec"]
            for version in spec["versions"]:
                if version["served"]:
                    key = (f"{spec['group']}/{version['name']}", spec["names"]["kind"])
                    found[key] = _strict(version["schema"]["openAPIV3Schema"], top=True)
    return found


def check(objects: Iterable[Json], crds: Kinds) -> Iterator[Finding]:
    """Yield what the schemas refuse, and objects of kinds that nobody knows."""
    for obj in objects:
        ref = ref_of(obj)
        schema = crds.get((ref.api_version, ref.kind))
        if schema is not None:
            yield from _errors(obj, Draft202012Validator(schema))
            continue
        core = _core(ref.api_version, ref.kind)
        if core is None:
            yield fault(
                "schema", obj, f"no schema of {ref.kind} in {ref.api_version}",
                fix="is the version right? its CRD must be among those of --crds",
            )  # fmt: skip
            continue
        yield from _errors(obj, core)


def _errors(obj: Json, validator: Draft202012Validator) -> Iterator[Finding]:
    for error in validator.iter_errors(_without_nulls(obj)):
        path = ".".join(map(str, error.absolute_path)) or "(top)"
        yield fault("schema", obj, f"{path}: {error.message[:LONGEST]}")


def _strict(schema: Any, *, top: bool = False) -> Any:
    """Return JSON Schema from a CRD's dialect; fields that it does not name are refused."""
    if isinstance(schema, list):
        return [_strict(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    if schema.get("x-kubernetes-int-or-string"):
        return INT_OR_STRING
    made = {
        key: value
        for key, value in schema.items()
        if not key.startswith("x-kubernetes") and key not in {"description", "format", "nullable"}
    }
    properties = made.get("properties")
    if isinstance(properties, dict):
        made["properties"] = {name: _strict(one) for name, one in properties.items()}
        if top:
            made["properties"] |= {"metadata": {"type": "object"}}
        open_ = schema.get("x-kubernetes-preserve-unknown-fields")
        if "additionalProperties" not in made and not open_:
            made["additionalProperties"] = False
    for key in ("items", "additionalProperties", "not"):
        if isinstance(made.get(key), dict):
            made[key] = _strict(made[key])
    for key in ("allOf", "anyOf", "oneOf"):
        if key in made:
            # Branches only restrict: what they do not name is not unknown.
            made[key] = [_branch(one) for one in made[key]]
    return made


def _branch(schema: Any) -> Any:
    if isinstance(schema, dict):
        return {
            key: _branch(value)
            for key, value in schema.items()
            if not key.startswith("x-kubernetes")
        }
    return [_branch(one) for one in schema] if isinstance(schema, list) else schema


def _without_nulls(value: Any) -> Any:
    """Return the value as the API server prunes it."""
    if isinstance(value, dict):
        return {key: _without_nulls(one) for key, one in value.items() if one is not None}
    return [_without_nulls(one) for one in value] if isinstance(value, list) else value


@cache
def _core_folder() -> Any:
    try:
        root = resources.files("kubernetes_validate")
    except ModuleNotFoundError:
        raise MissingDependency(
            "the schemas of Kubernetes' own kinds are missing",
            fix="`pip install 'ray-pipeline[deploy]'` brings them",
        ) from None
    return root / "kubernetes-json-schema" / f"{KUBERNETES}-local-strict"


@cache
def _core(api_version: str, kind: str) -> Draft202012Validator | None:
    group, _, version = api_version.rpartition("/")
    name = "-".join(filter(None, (kind.lower(), group.split(".")[0], version)))
    file = _core_folder() / f"{name}.json"
    if not file.is_file():
        return None
    registry: Registry[Any] = Registry(retrieve=_retrieve)  # type: ignore[call-arg]
    return Draft202012Validator(json.loads(file.read_text()), registry=registry)


@cache
def _retrieve(uri: str) -> Resource[Any]:
    content = json.loads((_core_folder() / uri.rpartition("/")[2]).read_text())
    return DRAFT202012.create_resource(content)
