"""What the manifests take for granted: Secrets that a person creates, and namespaces."""

from collections.abc import Iterable, Iterator, Sequence

from ray_pipeline.kubernetes.deploy.objects import (
    Json,
    Ref,
    dig,
    fields,
    kind_of,
    name_of,
    namespace_of,
    text,
)

STRIMZI_SECRETS = ("-cluster-ca-cert", "-clients-ca-cert")
# Their Secrets are read by operators. Traefik starts without a certificate too.
KINDS_WITHOUT_PODS = frozenset(
    "Ingress SecretStore ClusterSecretStore Issuer ClusterIssuer".split()
)
CLUSTER_WIDE = frozenset(
    "Namespace PriorityClass StorageClass PersistentVolume CustomResourceDefinition ClusterRole "
    "ClusterRoleBinding IngressClass".split()
)
# Where an object says how the Secret is called that its operator writes; by default, like itself.
SECRET_NAME_PATHS: dict[str, tuple[str, ...]] = {
    "Secret": ("metadata", "name"),
    "SealedSecret": ("spec", "template", "metadata", "name"),
    "ExternalSecret": ("spec", "target", "name"),
    "Certificate": ("spec", "secretName"),
    "KafkaUser": ("spec", "template", "secret", "metadata", "name"),
}


def placed(objects: Iterable[Json], namespace: str) -> list[Json]:
    """Return the objects; those that need a namespace and name no namespace get this one."""
    return [_placed(obj, namespace) for obj in objects]


def _placed(obj: Json, namespace: str) -> Json:
    metadata = obj.get("metadata")
    if kind_of(obj) in CLUSTER_WIDE or not isinstance(metadata, dict):
        return obj
    return obj | {"metadata": {"namespace": namespace} | metadata}


def home_of(objects: Sequence[Json]) -> str:
    """Return the installation's namespace: Ray's, else the most frequent one; empty without any."""
    for obj in objects:
        if kind_of(obj) in {"RayService", "RayCluster"}:
            return namespace_of(obj)
    names = [namespace_of(obj) for obj in objects]
    return max(filter(None, names), key=names.count, default="")


def secrets_needed(objects: Sequence[Json]) -> list[Ref]:
    """Return the Secrets that pods read and that neither the manifests nor an operator creates."""
    created = {secret for obj in objects for secret in secrets_made(obj)}
    read = {secret for obj in objects for secret in secrets_read(obj)}
    return sorted(Ref("v1", "Secret", namespace, name) for namespace, name in read - created)


def secrets_made(obj: Json) -> Iterator[tuple[str, str]]:
    """Yield namespace and name of every Secret that the object is, or that its operator writes."""
    kind, namespace, name = kind_of(obj), namespace_of(obj), name_of(obj)
    if kind in SECRET_NAME_PATHS:
        yield namespace, text(obj, *SECRET_NAME_PATHS[kind]) or name
    if kind == "Kafka":
        yield from ((namespace, name + suffix) for suffix in STRIMZI_SECRETS)


def secrets_read(obj: Json) -> Iterator[tuple[str, str]]:
    """Yield namespace and name of every Secret without which the object's pods do not start."""
    if kind_of(obj) not in KINDS_WITHOUT_PODS:
        for key, value in fields(obj):
            if (name := _secret_name(key, value)) and dig(value, "optional") is not True:
                yield namespace_of(obj), name


def _secret_name(key: str, value: object) -> str:
    """Return the name of the Secret that the field reads; empty for another field."""
    if key in {"secretKeyRef", "secretRef"}:
        return text(value, "name")
    if key in {"secret", "authOptions"}:
        return text(value, "secretName") or text(value, "name")  # the latter: a projected volume
    return ""
