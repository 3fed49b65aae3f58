"""
Check objects against schemas, without a cluster: strictly, so that a misspelt field is an error.

The schemas of core kinds come with the package `kubernetes-validate`, those of custom resources
from CRD files. The API server evaluates rules in CEL in a dry run (`ray-pipeline deploy plan`).
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
from ray_pipeline.kubernetes.manifests.lint_finding import LintFinding, fault

KUBERNETES = "v1.36.0"
Kinds = Mapping[tuple[str, str], Json]
"""A schema by apiVersion and kind."""
LONGEST = 300
INT_OR_STRING = {"anyOf": [{"type": "integer"}, {"type": "string"}]}


def read_crds(folder: Path) -> dict[tuple[str, str], Json]:
    """Return the schemas of all served versions of the CRDs in the folder's YAML files."""
    schemas: dict[tuple[str, str], Json] = {}
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    for path in sorted(folder.rglob("*.yaml")):
        for document in yaml.load_all(path.read_text(), Loader=loader):
            if not isinstance(document, dict) or document.get("kind") != "CustomResourceDefinition":
                continue
            spec = document["spec"]
            for version in spec["versions"]:
                if version["served"]:
                    key = (f"{spec['group']}/{version['name']}", spec["names"]["kind"])
                    schemas[key] = _strict(version["schema"]["openAPIV3Schema"], top=True)
    return schemas


def check(objects: Iterable[Json], crds: Kinds) -> Iterator[LintFinding]:
    """Yield the errors of the schemas, and objects of kinds without a schema."""
    for obj in objects:
        ref = ref_of(obj)
        schema = crds.get((ref.api_version, ref.kind))
        validator = Draft202012Validator(schema) if schema else _core(ref.api_version, ref.kind)
        if validator is None:
            fix = "correct the version, or add its CRD to the folder of --crds"
            yield fault("schema", obj, f"no schema of {ref.kind} in {ref.api_version}", fix=fix)
            continue
        for error in validator.iter_errors(_without_nulls(obj)):
            path = ".".join(map(str, error.absolute_path)) or "(top)"
            yield fault("schema", obj, f"{path}: {error.message[:LONGEST]}")


def _strict(schema: Any, *, top: bool = False) -> Any:
    """Return JSON Schema from the dialect of CRDs; fields that it does not name are errors."""
    if isinstance(schema, list):
        return [_strict(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    if schema.get("x-kubernetes-int-or-string"):
        return INT_OR_STRING
    strict = {
        key: value
        for key, value in schema.items()
        if not key.startswith("x-kubernetes") and key not in {"description", "format", "nullable"}
    }
    properties = strict.get("properties")
    if isinstance(properties, dict):
        strict["properties"] = {name: _strict(value) for name, value in properties.items()}
        if top:
            strict["properties"] |= {"metadata": {"type": "object"}}
        open_ = schema.get("x-kubernetes-preserve-unknown-fields")
        if "additionalProperties" not in strict and not open_:
            strict["additionalProperties"] = False
    for key in ("items", "additionalProperties", "not"):
        if isinstance(strict.get(key), dict):
            strict[key] = _strict(strict[key])
    for key in ("allOf", "anyOf", "oneOf"):
        if key in strict:
            # Branches restrict the fields that are named elsewhere, so they list only some of them.
            strict[key] = [_branch(item) for item in strict[key]]
    return strict


def _branch(schema: Any) -> Any:
    if isinstance(schema, dict):
        return {
            key: _branch(value)
            for key, value in schema.items()
            if not key.startswith("x-kubernetes")
        }
    return [_branch(item) for item in schema] if isinstance(schema, list) else schema


def _without_nulls(value: Any) -> Any:
    """Return the value without nulls, which the API server ignores."""
    if isinstance(value, dict):
        return {key: _without_nulls(item) for key, item in value.items() if item is not None}
    return [_without_nulls(item) for item in value] if isinstance(value, list) else value


@cache
def _core_folder() -> Any:
    try:
        root = resources.files("kubernetes_validate")
    except ModuleNotFoundError:
        raise MissingDependency(
            "the schemas of the core kinds are missing",
            fix="`pip install 'ray-pipeline[deploy]'` installs them",
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
