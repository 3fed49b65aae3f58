"""What the manifests take for granted: secrets that somebody else makes, kinds, namespaces."""

from collections.abc import Iterable, Iterator, Sequence

from ray_pipeline.deploy.objects import Json, Ref, dig, ref_of, text

MADE_BY_STRIMZI = ("-cluster-ca-cert", "-clients-ca-cert")
INSTALLERS = frozenset({"HelmChart", "CustomResourceDefinition"})
CLUSTER_WIDE = frozenset(
    "Namespace PriorityClass StorageClass PersistentVolume CustomResourceDefinition ClusterRole "
    "ClusterRoleBinding IngressClass".split()
)


def placed(objects: Iterable[Json], namespace: str) -> list[Json]:
    """Return the objects, each that needs a namespace and names none in `namespace`."""
    return [_placed(obj, namespace) for obj in objects]


def _placed(obj: Json, namespace: str) -> Json:
    metadata = obj.get("metadata")
    if text(obj, "kind") in CLUSTER_WIDE or not isinstance(metadata, dict):
        return obj
    return obj | {"metadata": {"namespace": namespace} | metadata}


def home_of(objects: Sequence[Json]) -> str:
    """Return the namespace of the release: where Ray is, else where most objects are; or ""."""
    for obj in objects:
        if text(obj, "kind") in {"RayService", "RayCluster"}:
            return text(obj, "metadata", "namespace")
    names = [text(obj, "metadata", "namespace") for obj in objects]
    return max(filter(None, names), key=names.count, default="")


def secrets_needed(objects: Sequence[Json]) -> list[Ref]:
    """Return the secrets that pods read and that neither the manifests nor Strimzi will make."""
    made = {ref_of(obj) for obj in objects if text(obj, "kind") == "Secret"}
    made |= {_secret(ref_of(obj).namespace, name) for obj in objects for name in _made_by(obj)}
    wanted = {
        _secret(text(obj, "metadata", "namespace"), name)
        for obj in objects
        for name in _names(obj)
        if text(obj, "kind") != "Ingress"  # Traefik has a certificate of its own
    }
    return sorted(wanted - made)


def _secret(namespace: str, name: str) -> Ref:
    return Ref("v1", "Secret", namespace, name)


def _made_by(obj: Json) -> Iterator[str]:
    name = text(obj, "metadata", "name")
    if text(obj, "kind") == "KafkaUser":
        yield text(obj, "spec", "template", "secret", "metadata", "name") or name
    if text(obj, "kind") == "Kafka":
        yield from (name + ending for ending in MADE_BY_STRIMZI)


def _names(value: object) -> Iterator[str]:
    """Yield the names of secrets that are read anywhere in the value, but for optional ones."""
    if isinstance(value, list):
        for one in value:
            yield from _names(one)
    if not isinstance(value, dict):
        return
    for key, one in value.items():
        if key in {"secretKeyRef", "secretRef"} and dig(one, "optional") is not True:
            yield text(one, "name")
        elif key in {"secret", "authOptions"} and dig(one, "secretName"):
            yield from [text(one, "secretName")] if dig(one, "optional") is not True else []
        else:
            yield from _names(one)


def installs_kinds(objects: Iterable[Json]) -> bool:
    """Say whether the manifests bring kinds of their own."""
    return any(text(obj, "kind") in INSTALLERS for obj in objects)
