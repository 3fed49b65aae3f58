"""
Which objects of the manifests need which other objects.

A dependency is found if the manifests spell it out: the host name of a Service in a pod's
environment, command, probe or configuration, or a Secret that an operator writes. An address inside
a Secret that a person creates by hand is invisible here.
"""

import base64
import binascii
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ray_pipeline.kubernetes.deploy.needs import secrets_made, secrets_read
from ray_pipeline.kubernetes.deploy.objects import (
    Json,
    fields,
    kind_of,
    mapping,
    name_of,
    namespace_of,
    pod_templates,
    selects,
    text,
)

# Suffixes of the Services that operators create for an object, by its kind.
SERVICES_OF_OPERATORS = {
    "RayCluster": ("-head-svc", "-serve-svc"),
    "RayService": ("-head-svc", "-serve-svc"),
    "Kafka": ("-kafka-bootstrap", "-kafka-brokers"),
}
# Fields without addresses, although an image such as redis:7 looks like host:port.
FIELDS_WITHOUT_ADDRESS = frozenset({"image", "name", "labels", "metadata"})
CONFIG_MAP_FIELDS = frozenset({"configMap", "configMapRef", "configMapKeyRef"})
# A short name such as `redis` also occurs as an ordinary word. It counts as an address only in the
# forms in which programs write addresses.
ADDRESS = r"|".join(
    (
        r"^HOST$",  # the value of a variable, or an argument
        r"(?<![\w.-])HOST[: ]\d",  # host:port, and `nc host port`
        r"(?://|@)HOST(?![\w.-])",  # in a URL without a port
        r"(?:\bhost(?:name)?[= ]|\bhosts |-h ?|nslookup )HOST(?![\w.-])",  # psql, getent
    )
)


@dataclass(frozen=True, slots=True)
class Host:
    """The name of a Service."""

    namespace: str
    name: str


def dependencies(objects: Sequence[Json]) -> list[frozenset[int]]:
    """Return, for each object, the indexes in `objects` of the objects that it needs."""
    hosts = [_hosts(obj, objects) for obj in objects]
    created = [set(secrets_made(obj)) for obj in objects]
    return [
        frozenset(
            other
            for other in range(len(objects))
            if other != index
            and (
                created[other] & secrets
                or any(_mentions(strings, host, namespace) for host in hosts[other])
            )
        )
        for index, (namespace, strings, secrets) in enumerate(
            _needs(obj, objects) for obj in objects
        )
    ]


def _needs(obj: Json, objects: Sequence[Json]) -> tuple[str, str, set[tuple[str, str]]]:
    """Return the namespace, the strings that may hold an address, and the secrets read."""
    namespace = namespace_of(obj)
    # Only pods wait for others. A Service or a ConfigMap that names a host works without it.
    if not any(pod_templates(obj)):
        return namespace, "", set()
    strings = [*_strings(mapping(obj, "spec")), *_configuration(obj, objects)]
    return namespace, "\n".join(strings), set(secrets_read(obj))


def _hosts(obj: Json, objects: Sequence[Json]) -> set[Host]:
    """Return the Services that lead to the object's pods."""
    namespace = namespace_of(obj)
    suffixes = SERVICES_OF_OPERATORS.get(kind_of(obj), ())
    return {Host(namespace, name_of(obj) + suffix) for suffix in suffixes} | {
        Host(namespace, name_of(service))
        for service in objects
        if kind_of(service) == "Service"
        and namespace_of(service) == namespace
        and _leads_to(mapping(service, "spec", "selector"), obj)
    }


def _leads_to(selector: Json, obj: Json) -> bool:
    """Say whether the selector matches a pod of the object, with the labels of operators."""
    kind, name = kind_of(obj), name_of(obj)
    if kind == "Kafka":
        return selector.get("strimzi.io/cluster") == name
    operator_labels: Json = {}
    if kind in {"RayCluster", "RayService"}:
        # KubeRay adds the labels of this group. A RayService's clusters have generated names, so
        # only a RayCluster's name can be compared.
        operator_labels = {key: value for key, value in selector.items() if key[:7] == "ray.io/"}
        if kind == "RayCluster" and selector.get("ray.io/cluster", name) != name:
            return False
    return any(
        selects(selector, mapping(template, "metadata", "labels") | operator_labels)
        for template in pod_templates(obj)
    )


def _mentions(strings: str, host: Host, namespace: str) -> bool:
    """Say whether the strings of an object in the namespace hold the address of the host."""
    if host.name not in strings:
        return False
    # A short name is resolved in the pod's own namespace. Elsewhere, the domain is mandatory.
    domain = rf"\.{re.escape(host.namespace)}(?:\.svc[\w.-]*)?"
    suffix = f"(?:{domain})?" if namespace == host.namespace else domain
    full_name = rf"(?:[\w-]+\.)?{re.escape(host.name)}{suffix}"
    return re.search(ADDRESS.replace("HOST", full_name), strings, re.MULTILINE) is not None


def _strings(value: object) -> Iterator[str]:
    """Yield every string in the value that may hold an address."""
    if isinstance(value, str):
        yield value
    children = value if isinstance(value, list) else []
    if isinstance(value, dict):
        children = [child for key, child in value.items() if key not in FIELDS_WITHOUT_ADDRESS]
    for child in children:
        yield from _strings(child)


def _configuration(obj: Json, objects: Sequence[Json]) -> Iterator[str]:
    """Yield the values of those ConfigMaps and Secrets of the manifests that the object reads."""
    namespace = namespace_of(obj)
    config_maps = {text(value, "name") for key, value in fields(obj) if key in CONFIG_MAP_FIELDS}
    secrets = set(secrets_read(obj))
    for source in objects:
        kind, name = kind_of(source), name_of(source)
        if namespace_of(source) != namespace:
            continue
        if kind == "ConfigMap" and name in config_maps:
            yield from _strings(list(mapping(source, "data").values()))
        if kind == "Secret" and (namespace, name) in secrets:
            yield from _strings(list(mapping(source, "stringData").values()))
            yield from (_decoded(value) for value in mapping(source, "data").values())


def _decoded(value: object) -> str:
    try:
        return base64.b64decode(str(value), validate=True).decode("utf-8", "replace")
    except (binascii.Error, ValueError):
        return ""
