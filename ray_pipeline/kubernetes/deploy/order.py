"""In which order objects are applied: what others need comes first. Deleting goes backwards."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ray_pipeline.errors import ConfigurationError
from ray_pipeline.kubernetes.deploy.dependencies import dependencies
from ray_pipeline.kubernetes.deploy.objects import (
    Json,
    annotation,
    dig,
    items,
    pod_specs,
    ref_of,
    text,
)

ANNOTATION = "ray-pipeline/wave"

NAMESPACES = "namespaces"
OPERATORS = "operators"
STORES = "stores"
APPLICATIONS = "applications"
# Each wave is applied as one, and must be ready before the next begins.
WAVES: tuple[tuple[str, frozenset[str]], ...] = (
    (NAMESPACES, frozenset({"Namespace", "PriorityClass", "StorageClass"})),
    (OPERATORS, frozenset({"CustomResourceDefinition", "HelmChart", "HelmChartConfig"})),
    (
        "accounts and secrets",
        # The last line: kinds whose operators write Secrets, which pods of later waves read.
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

# Kinds that say nothing of what their pods are for: a database, a client of Ray, or anything else.
GENERAL = frozenset({"Deployment", "DaemonSet", "ReplicaSet"})
# What an object of these kinds needs may push it back. Kafka and Ray keep their places: all other
# waves are arranged around them.
MOVABLE = GENERAL | {"StatefulSet", "Job", "CronJob"}

# What holds data, or others' data: an apply whose manifests lack it leaves it where it is.
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
    """Return the number of the wave of a kind, from 0; `places` looks at whole objects."""
    places = (place for place, (_, kinds) in enumerate(WAVES) if kind in kinds)
    return next(places, LAST)


def waves(objects: Iterable[Json]) -> list[Wave]:
    """
    Return the objects by wave, first wave first; within a wave in the order given.

    Raises:
        ConfigurationError: If an annotation names a wave that does not exist.
    """
    listed = list(objects)
    held: dict[int, list[Json]] = {}
    for obj, place in zip(listed, places(listed), strict=True):
        held.setdefault(place, []).append(obj)
    return [Wave(NAMES[place], tuple(held[place])) for place in sorted(held)]


def in_order(objects: Iterable[Json]) -> list[Json]:
    """Return the objects in the order in which they are applied; raise as `waves` does."""
    return [obj for wave in waves(objects) for obj in wave.objects]


def places(objects: Sequence[Json]) -> list[int]:
    """
    Return the number of each object's wave, in the order given.

    The annotation `ray-pipeline/wave` decides. Without it, the kind does, with two corrections: a
    Deployment, DaemonSet or ReplicaSet is a store if it mounts a claim or if an object of an
    earlier wave needs it; and a workload goes into a wave after everything that it needs.

    Raises:
        ConfigurationError: If an annotation names a wave that does not exist.
    """
    needed = dependencies(objects)
    named = [_annotated(obj) for obj in objects]
    stores = _stores(objects, needed)
    found = [
        place if place is not None else NAMES.index(STORES) if index in stores else wave_of(kind)
        for index, (place, kind) in enumerate(zip(named, map(_kind, objects), strict=True))
    ]
    movable = {
        index for index, obj in enumerate(objects) if named[index] is None and _kind(obj) in MOVABLE
    }
    return _settled(found, needed, movable)


def _kind(obj: Json) -> str:
    return text(obj, "kind")


def _annotated(obj: Json) -> int | None:
    name = annotation(obj, ANNOTATION)
    if not name:
        return None
    if name not in NAMES:
        raise ConfigurationError(
            f"{ref_of(obj)}: {ANNOTATION} is {name!r}, which is no wave",
            fix=f"one of {', '.join(NAMES)}",
        )
    return NAMES.index(name)


def _stores(objects: Sequence[Json], needed: Sequence[frozenset[int]]) -> set[int]:
    """Return the general workloads that hold data, or that something before Ray or Ray needs."""
    general = {index for index, obj in enumerate(objects) if _kind(obj) in GENERAL}
    stores = {index for index in general if _mounts_claim(objects[index])}
    early = [
        index for index, obj in enumerate(objects) if wave_of(_kind(obj)) < wave_of("Deployment")
    ]
    reached = [*early, *stores]
    while reached:
        more = (needed[reached.pop()] & general) - stores
        stores |= more
        reached += more
    return stores


def _mounts_claim(obj: Json) -> bool:
    volumes = (volume for spec in pod_specs(obj) for volume in items(spec, "volumes"))
    return any(dig(volume, "persistentVolumeClaim") is not None for volume in volumes)


def _settled(found: list[int], needed: Sequence[frozenset[int]], movable: set[int]) -> list[int]:
    """Move objects back until none is before what it needs. Places only grow, so this ends."""
    while True:
        moved = [
            _behind(place, [found[other] for other in needed[index]]) if index in movable else place
            for index, place in enumerate(found)
        ]
        if moved == found:
            return found
        found = moved


def _behind(place: int, needed: Iterable[int]) -> int:
    """Return the wave after all that are needed. In one wave with them would do, as it is."""
    last = max(needed, default=place)
    return place if last <= place else min(last + 1, LAST)
