"""
Which object of a release needs which other one, read from the manifests.

Found are needs that are written down: the host name of a Service in a pod's environment, command,
probe or configuration, and a Secret that an operator writes. An address inside of a Secret that
somebody makes by hand cannot be found.
"""

import base64
import binascii
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ray_pipeline.kubernetes.deploy.needs import secrets_made, secrets_read
from ray_pipeline.kubernetes.deploy.objects import Json, mapping, pod_templates, text

# Services that operators make, by the kind of the object that they make them for.
OPERATED = {
    "RayCluster": ("-head-svc", "-serve-svc"),
    "RayService": ("-head-svc", "-serve-svc"),
    "Kafka": ("-kafka-bootstrap", "-kafka-brokers"),
}
# Values of these are no addresses, though an image such as redis:7 looks like one.
NO_ADDRESS = frozenset({"image", "name", "labels", "metadata"})


@dataclass(frozen=True, slots=True)
class Host:
    """The name of a Service."""

    namespace: str
    name: str


def dependencies(objects: Sequence[Json]) -> list[frozenset[int]]:
    """Return for each object the places, in `objects`, of the others that it needs."""
    hosts = [_hosts(obj, objects) for obj in objects]
    made = [set(secrets_made(obj)) for obj in objects]
    return [
        frozenset(
            other
            for other in range(len(objects))
            if other != index
            and (made[other] & read or any(_names(host, words, space) for host in hosts[other]))
        )
        for index, (space, words, read) in enumerate(_needs(obj, objects) for obj in objects)
    ]


def _needs(obj: Json, objects: Sequence[Json]) -> tuple[str, str, set[tuple[str, str]]]:
    """Return the object's namespace, every text that may name a host, and the secrets it reads."""
    space = text(obj, "metadata", "namespace")
    if not any(pod_templates(obj)):
        return space, "", set()
    words = [*_texts(mapping(obj, "spec")), *_configured(obj, objects)]
    return space, "\n".join(words), set(secrets_read(obj))


def _hosts(obj: Json, objects: Sequence[Json]) -> set[Host]:
    """Return the Services behind which the object's pods are."""
    space, name = text(obj, "metadata", "namespace"), text(obj, "metadata", "name")
    operated = {Host(space, name + ending) for ending in OPERATED.get(text(obj, "kind"), ())}
    return operated | {
        Host(space, text(service, "metadata", "name"))
        for service in objects
        if text(service, "kind") == "Service"
        and text(service, "metadata", "namespace") == space
        and _selects(mapping(service, "spec", "selector"), obj)
    }


def _selects(selector: Json, obj: Json) -> bool:
    """Say whether the selector fits a pod of the object, with the labels that operators add."""
    kind, name = text(obj, "kind"), text(obj, "metadata", "name")
    if kind == "Kafka":
        return selector.get("strimzi.io/cluster") == name
    added: Json = {}
    if kind in {"RayCluster", "RayService"}:
        # KubeRay adds labels of this group. The clusters of a RayService have names of their own.
        added = {key: value for key, value in selector.items() if key.startswith("ray.io/")}
        if kind == "RayCluster" and selector.get("ray.io/cluster", name) != name:
            return False
    return bool(selector) and any(_fits(selector, labels | added) for labels in _labels(obj))


def _labels(obj: Json) -> Iterator[Json]:
    return (mapping(template, "metadata", "labels") for template in pod_templates(obj))


def _fits(selector: Json, labels: Json) -> bool:
    return all(labels.get(key) == value for key, value in selector.items())


def _names(host: Host, words: str, space: str) -> bool:
    """Say whether the words have the host where an address is expected."""
    if host.name not in words:
        return False
    # From another namespace, the short name is somebody else's.
    domain = rf"\.{re.escape(host.namespace)}(?:\.svc[\w.-]*)?"
    ending = f"(?:{domain})?" if space == host.namespace else domain
    full = rf"(?:[\w-]+\.)?{re.escape(host.name)}{ending}"
    return re.search(ADDRESS.replace("HOST", full), words, re.MULTILINE) is not None


ADDRESS = r"|".join(
    (
        r"^HOST$",  # the value of a variable, or an argument
        r"(?<![\w.-])HOST[: ]\d",  # host:port, and `nc host port`
        r"(?://|@)HOST(?![\w.-])",  # in a URL without a port
        r"(?:\bhost(?:name)?[= ]|\bhosts |-h ?|nslookup )HOST(?![\w.-])",  # psql, getent
    )
)


def _texts(value: object) -> Iterator[str]:
    """Yield every text inside of the value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for child in value:
            yield from _texts(child)
    elif isinstance(value, dict):
        for key, child in value.items():
            if key not in NO_ADDRESS:
                yield from _texts(child)


def _configured(obj: Json, objects: Sequence[Json]) -> Iterator[str]:
    """Yield the values of the ConfigMaps and Secrets of the manifests that the object reads."""
    space = text(obj, "metadata", "namespace")
    maps, secrets = set(_config_maps(obj)), set(secrets_read(obj))
    for other in objects:
        kind, name = text(other, "kind"), text(other, "metadata", "name")
        if text(other, "metadata", "namespace") != space:
            continue
        if kind == "ConfigMap" and name in maps:
            yield from _texts(list(mapping(other, "data").values()))
        if kind == "Secret" and (space, name) in secrets:
            yield from _texts(list(mapping(other, "stringData").values()))
            yield from (_decoded(value) for value in mapping(other, "data").values())


def _config_maps(value: object) -> Iterator[str]:
    if isinstance(value, list):
        for child in value:
            yield from _config_maps(child)
    if isinstance(value, dict):
        for key, child in value.items():
            if key in {"configMap", "configMapRef", "configMapKeyRef"}:
                yield text(child, "name")
            else:
                yield from _config_maps(child)


def _decoded(value: object) -> str:
    try:
        return base64.b64decode(str(value), validate=True).decode("utf-8", "replace")
    except (binascii.Error, ValueError):
        return ""
