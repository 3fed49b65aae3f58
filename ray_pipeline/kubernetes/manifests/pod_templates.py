"""Every pod template of the manifests, wherever its kind keeps it."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from ray_pipeline.kubernetes.deploy.objects import Json, dig, items, kind_of, mapping, name_of, text


@dataclass(frozen=True, slots=True)
class Template:
    """
    A pod that a controller will create.

    Attributes:
        owner: The object with the template.
        name: The pod's part in the object, such as `head` or `collectors`.
        ray: Whether it is a node of Ray; its first container is Ray's.
    """

    owner: Json
    name: str
    labels: Json
    spec: Json
    ray: bool = False

    @property
    def containers(self) -> list[Json]:
        """All containers, init containers first."""
        return items(self.spec, "initContainers") + items(self.spec, "containers")


POD_PATHS: dict[str, tuple[str, ...]] = {
    "Deployment": ("spec", "template"),
    "StatefulSet": ("spec", "template"),
    "DaemonSet": ("spec", "template"),
    "Job": ("spec", "template"),
    "CronJob": ("spec", "jobTemplate", "spec", "template"),
}
CLUSTER_PATHS: dict[str, tuple[str, ...]] = {
    "RayCluster": ("spec",),
    "RayService": ("spec", "rayClusterConfig"),
    "RayJob": ("spec", "rayClusterSpec"),
}


def cluster_spec(obj: Json) -> Json:
    """Return the RayCluster's spec inside an object of Ray; empty for another object."""
    path = CLUSTER_PATHS.get(kind_of(obj))
    return mapping(obj, *path) if path else {}


def templates(objects: Iterable[Json]) -> Iterator[Template]:
    """Yield every template."""
    for obj in objects:
        kind = kind_of(obj)
        if kind in POD_PATHS:
            yield _template(obj, kind, mapping(obj, *POD_PATHS[kind]))
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
    if group:  # KubeRay adds these labels; the clusters of a RayService have generated names
        labels = labels | {"ray.io/group": group, "ray.io/is-ray-node": "yes"}
        if kind_of(owner) == "RayCluster":
            labels["ray.io/cluster"] = name_of(owner)
    return Template(owner, name, labels, mapping(template, "spec"), ray=bool(group))
