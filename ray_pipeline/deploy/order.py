"""In which order objects are applied: what others need comes first. Deleting goes backwards."""

from collections.abc import Iterable
from dataclasses import dataclass

from ray_pipeline.deploy.objects import Json, ref_of

NAMESPACES = "namespaces"
# Each wave is applied as one, and must be ready before the next begins.
WAVES: tuple[tuple[str, frozenset[str]], ...] = (
    (NAMESPACES, frozenset({"Namespace", "PriorityClass", "StorageClass"})),
    ("operators", frozenset({"CustomResourceDefinition", "HelmChart", "HelmChartConfig"})),
    (
        "accounts and secrets",
        frozenset("ServiceAccount Role RoleBinding ClusterRole ClusterRoleBinding Secret".split()),
    ),
    (
        "configuration",
        frozenset(
            "ConfigMap NetworkPolicy PodDisruptionBudget ResourceQuota LimitRange Service".split()
        ),
    ),
    (
        "stores",
        frozenset(
            "PersistentVolume PersistentVolumeClaim StatefulSet Deployment DaemonSet".split()
        ),
    ),
    ("Kafka", frozenset({"Kafka", "KafkaNodePool"})),
    ("topics and users", frozenset({"KafkaTopic", "KafkaUser"})),
    ("migration", frozenset({"Job"})),
    ("Ray", frozenset({"RayCluster", "RayService"})),
)
REST = "everything else"

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
    """Return the number of the wave in which objects of that kind are applied, from 0."""
    places = (place for place, (_, kinds) in enumerate(WAVES) if kind in kinds)
    return next(places, len(WAVES))


def waves(objects: Iterable[Json]) -> list[Wave]:
    """Return the objects by wave, first wave first; within a wave in the order given."""
    held: dict[int, list[Json]] = {}
    for obj in objects:
        held.setdefault(wave_of(ref_of(obj).kind), []).append(obj)
    names = [*(name for name, _ in WAVES), REST]
    return [Wave(names[place], tuple(held[place])) for place in sorted(held)]
