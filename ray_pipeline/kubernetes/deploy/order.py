"""
The order of an apply: waves of objects, dependencies first. A delete uses the reverse order.

Most objects have a place by their kind. Two corrections use the dependencies that the manifests
spell out: a Deployment on which an early object depends is a store, and a workload moves behind
everything that it needs. Both keep an apply from waiting for an object of a later wave.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ray_pipeline.errors import ConfigurationError
from ray_pipeline.kubernetes.deploy.dependencies import dependencies
from ray_pipeline.kubernetes.deploy.objects import (
    Json,
    annotation,
    dig,
    items,
    kind_of,
    pod_templates,
    ref_of,
)

ANNOTATION = "ray-pipeline/wave"

NAMESPACES = "namespaces"
OPERATORS = "operators"
STORES = "stores"
APPLICATIONS = "applications"
# A wave is applied as a whole and must be ready before the next wave begins.
WAVES: tuple[tuple[str, frozenset[str]], ...] = (
    (NAMESPACES, frozenset({"Namespace", "PriorityClass", "StorageClass"})),
    (OPERATORS, frozenset({"CustomResourceDefinition", "HelmChart", "HelmChartConfig"})),
    (
        "accounts and secrets",
        # The last two lines: the operators of these kinds write Secrets, which later pods read.
        frozenset(
            "ServiceAccount Role RoleBinding ClusterRole ClusterRoleBinding Secret "
            "SealedSecret SecretStore ClusterSecretStore ExternalSecret Issuer ClusterIssuer "
            "Certificate".split()
        ),
    ),
    (
        "configuration",
        frozenset(
            "ConfigMap NetworkPolicy PodDisruptionBudget ResourceQuota LimitRange Service".split()
        ),
    ),
    (STORES, frozenset({"PersistentVolume", "PersistentVolumeClaim", "StatefulSet"})),
    ("Kafka", frozenset({"Kafka", "KafkaNodePool"})),
    ("topics and users", frozenset({"KafkaTopic", "KafkaUser"})),
    ("migration", frozenset({"Job"})),
    ("Ray", frozenset({"RayCluster", "RayService"})),
    (APPLICATIONS, frozenset({"Deployment", "DaemonSet", "ReplicaSet", "CronJob"})),
)
REST = "everything else"
NAMES = (*(name for name, _ in WAVES), REST)
LAST = NAMES.index(REST)

# These kinds do not tell the purpose of their pods: a database, a client of Ray, or anything else.
GENERAL = frozenset({"Deployment", "DaemonSet", "ReplicaSet"})
# Their dependencies can move objects of these kinds to a later wave. Kafka and Ray never move: all
# other waves are arranged around them.
MOVABLE = GENERAL | {"StatefulSet", "Job", "CronJob"}

# These kinds hold data, or the data of other objects hangs on them. If the manifests drop such an
# object, an apply leaves it in the cluster.
KEPT = frozenset(
    "Namespace CustomResourceDefinition HelmChart HelmChartConfig PersistentVolume "
    "PersistentVolumeClaim StatefulSet Kafka KafkaNodePool KafkaTopic StorageClass".split()
)


@dataclass(frozen=True, slots=True)
class Wave:
    """Objects that are applied together."""

    name: str
    objects: tuple[Json, ...]


def wave_of(kind: str) -> int:
    """Return the index of a kind's wave; `wave_indexes` considers whole objects."""
    return next((index for index, (_, kinds) in enumerate(WAVES) if kind in kinds), LAST)


def waves(objects: Iterable[Json]) -> list[Wave]:
    """
    Return the objects by wave, first wave first; within a wave in the given order.

    Raises:
        ConfigurationError: If an annotation names a wave that does not exist.
    """
    listed = list(objects)
    members: dict[int, list[Json]] = {}
    for obj, index in zip(listed, wave_indexes(listed), strict=True):
        members.setdefault(index, []).append(obj)
    return [Wave(NAMES[index], tuple(members[index])) for index in sorted(members)]


def in_order(objects: Iterable[Json]) -> list[Json]:
    """Return the objects in the order of an apply; raise as `waves` does."""
    return [obj for wave in waves(objects) for obj in wave.objects]


def wave_indexes(objects: Sequence[Json]) -> list[int]:
    """
    Return the index of each object's wave, in the given order.

    The annotation `ray-pipeline/wave` decides. Without it, the kind does, with two corrections: a
    Deployment, DaemonSet or ReplicaSet is a store if it mounts a claim or if an object of an
    earlier wave needs it; and a workload goes into a wave after everything that it needs.

    Raises:
        ConfigurationError: If an annotation names a wave that does not exist.
    """
    needed = dependencies(objects)
    annotated = [_annotated(obj) for obj in objects]
    stores = _stores(objects, needed)
    indexes = [
        given if given is not None
        else NAMES.index(STORES) if position in stores
        else wave_of(kind_of(obj))
        for position, (obj, given) in enumerate(zip(objects, annotated, strict=True))
    ]  # fmt: skip
    movable = {
        position
        for position, (obj, given) in enumerate(zip(objects, annotated, strict=True))
        if given is None and kind_of(obj) in MOVABLE
    }
    return _settled(indexes, needed, movable)


def _annotated(obj: Json) -> int | None:
    name = annotation(obj, ANNOTATION)
    if name and name not in NAMES:
        raise ConfigurationError(
            f"{ref_of(obj)}: {ANNOTATION} names a wave that does not exist: {name!r}",
            fix=f"one of {', '.join(NAMES)}",
        )
    return NAMES.index(name) if name else None


def _stores(objects: Sequence[Json], needed: Sequence[frozenset[int]]) -> set[int]:
    """Return the general workloads that hold data, or that an object up to Ray needs."""
    general = {index for index, obj in enumerate(objects) if kind_of(obj) in GENERAL}
    stores = {index for index in general if _mounts_claim(objects[index])}
    applications = wave_of("Deployment")
    # Follow dependencies from early objects and from stores: what a store needs is a store too.
    unvisited = [i for i, obj in enumerate(objects) if wave_of(kind_of(obj)) < applications]
    unvisited += stores
    while unvisited:
        new_stores = (needed[unvisited.pop()] & general) - stores
        stores |= new_stores
        unvisited += new_stores
    return stores


def _mounts_claim(obj: Json) -> bool:
    return any(
        dig(volume, "persistentVolumeClaim") is not None
        for template in pod_templates(obj)
        for volume in items(template, "spec", "volumes")
    )


def _settled(indexes: list[int], needed: Sequence[frozenset[int]], movable: set[int]) -> list[int]:
    """
    Move objects to later waves until none comes before an object that it needs.

    Indexes only grow and `LAST` bounds them, so this ends, even if two objects need each other.
    """
    while True:
        moved = [
            _behind(index, [indexes[other] for other in needed[position]])
            if position in movable
            else index
            for position, index in enumerate(indexes)
        ]
        if moved == indexes:
            return indexes
        indexes = moved


def _behind(index: int, needed: Iterable[int]) -> int:
    """Return the wave after all needed ones; an object may share a wave with what it needs."""
    last = max(needed, default=index)
    return index if last <= index else min(last + 1, LAST)
