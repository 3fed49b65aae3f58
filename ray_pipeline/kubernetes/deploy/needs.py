"""What the manifests take for granted: secrets that somebody else makes, and namespaces."""

from collections.abc import Iterable, Iterator, Sequence

from ray_pipeline.kubernetes.deploy.objects import Json, Ref, dig, text

MADE_BY_STRIMZI = ("-cluster-ca-cert", "-clients-ca-cert")
# Traefik has a certificate of its own; the others only hand secrets on to their operators.
NO_POD = frozenset("Ingress SecretStore ClusterSecretStore Issuer ClusterIssuer".split())
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
    """Return the secrets that pods read and that neither the manifests nor an operator makes."""
    made = {secret for obj in objects for secret in secrets_made(obj)}
    wanted = {secret for obj in objects for secret in secrets_read(obj)}
    return sorted(Ref("v1", "Secret", namespace, name) for namespace, name in wanted - made)


def secrets_made(obj: Json) -> Iterator[tuple[str, str]]:
    """Yield namespace and name of every Secret that comes into being with the object."""
    return ((text(obj, "metadata", "namespace"), name) for name in _made_by(obj))


def secrets_read(obj: Json) -> Iterator[tuple[str, str]]:
    """Yield namespace and name of every Secret without which the object's pods do not start."""
    if text(obj, "kind") in NO_POD:
        return
    for name in _names(obj):
        yield text(obj, "metadata", "namespace"), name


def _made_by(obj: Json) -> Iterator[str]:
    name = text(obj, "metadata", "name")
    match text(obj, "kind"):
        case "Secret":
            yield name
        case "SealedSecret":
            yield text(obj, "spec", "template", "metadata", "name") or name
        case "ExternalSecret":
            yield text(obj, "spec", "target", "name") or name
        case "Certificate":
            yield text(obj, "spec", "secretName")
        case "KafkaUser":
            yield text(obj, "spec", "template", "secret", "metadata", "name") or name
        case "Kafka":
            yield from (name + ending for ending in MADE_BY_STRIMZI)


def _names(value: object) -> Iterator[str]:
    """Yield the names of secrets that are read anywhere in the value, but for optional ones."""
    if isinstance(value, list):
        for child in value:
            yield from _names(child)
    if not isinstance(value, dict):
        return
    for key, child in value.items():
        if name := _name(key, child):
            yield from [name] if dig(child, "optional") is not True else []
        else:
            yield from _names(child)


def _name(key: str, value: object) -> str:
    """Return the name of the secret that the field reads; empty where it reads none."""
    if key in {"secretKeyRef", "secretRef"}:
        return text(value, "name")
    if key in {"secret", "authOptions"}:
        return text(value, "secretName") or text(value, "name")  # the latter: a projected volume
    return ""
