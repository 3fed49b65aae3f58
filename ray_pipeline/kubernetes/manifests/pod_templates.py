"""Every template of a pod in the manifests, wherever its kind keeps it."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from ray_pipeline.kubernetes.deploy.objects import Json, dig, items, mapping, text


@dataclass(frozen=True, slots=True)
class Template:
    """
    A pod that will be made.

    Attributes:
        owner: The object that it is in.
        name: Which pod of it, such as `head` or `collectors`.
        labels, spec: The template's.
        ray: Whether the Ray container must be its first one.
    """

    owner: Json
    name: str
    labels: Json
    spec: Json
    ray: bool = False

    @property
    def containers(self) -> list[Json]:
        """Init containers first."""
        return items(self.spec, "initContainers") + items(self.spec, "containers")


PLACES: dict[str, tuple[str, ...]] = {
    "Deployment": ("spec", "template"),
    "StatefulSet": ("spec", "template"),
    "DaemonSet": ("spec", "template"),
    "Job": ("spec", "template"),
    "CronJob": ("spec", "jobTemplate", "spec", "template"),
}
CLUSTERS: dict[str, tuple[str, ...]] = {
    "RayCluster": ("spec",),
    "RayService": ("spec", "rayClusterConfig"),
    "RayJob": ("spec", "rayClusterSpec"),
}


def cluster_spec(obj: Json) -> Json:
    """Return the RayCluster's spec inside an object of Ray; empty where it has none."""
    place = CLUSTERS.get(text(obj, "kind"))
    return mapping(obj, *place) if place else {}


def ray_labels(obj: Json, group: str) -> Json:
    """Return the labels that KubeRay adds to a pod of that group, where they can be known."""
    labels: Json = {"ray.io/group": group, "ray.io/is-ray-node": "yes"}
    if text(obj, "kind") == "RayCluster":
        labels["ray.io/cluster"] = text(obj, "metadata", "name")
    return labels


def templates(objects: Iterable[Json]) -> Iterator[Template]:
    """Yield every template."""
    for obj in objects:
        kind = text(obj, "kind")
        if kind in PLACES:
            yield _template(obj, kind, mapping(obj, *PLACES[kind]))
        spec = cluster_spec(obj)
        if head := mapping(spec, "headGroupSpec", "template"):
            yield _template(obj, "head", head, group="headgroup")
        for group in items(spec, "workerGroupSpecs"):
            name = text(group, "groupName")
            yield _template(obj, name, mapping(group, "template"), group=name)
        if dig(obj, "spec", "submitterPodTemplate") is not None:
            yield _template(obj, "submitter", mapping(obj, "spec", "submitterPodTemplate"))


def _template(owner: Json, name: str, template: Json, *, group: str = "") -> Template:
    labels = mapping(template, "metadata", "labels")
    if group:
        labels = labels | ray_labels(owner, group)
    return Template(owner, name, labels, mapping(template, "spec"), ray=bool(group))
