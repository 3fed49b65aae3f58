"""Look at what belongs to an object that is not ready: its parts, its pods, their events."""

from ray_pipeline.kubernetes.deploy.explain import Evidence
from ray_pipeline.kubernetes.deploy.failures import Forbidden, UnknownKind
from ray_pipeline.kubernetes.deploy.kube import Kube
from ray_pipeline.kubernetes.deploy.objects import Json, Ref, mapping, text

RAY = "ray.io/v1"
CLUSTER_OF_RAY = "ray.io/cluster"
WORKLOADS = frozenset({"Deployment", "StatefulSet", "DaemonSet"})


def gather(kube: Kube, ref: Ref, live: Json | None) -> Evidence:
    """Return what there is to see. What the user may not look at is left out."""
    if live is None:
        return Evidence(ref, None)
    namespace = ref.namespace
    parts = [
        part
        for name in _clusters(live)
        if (part := kube.get(Ref(RAY, "RayCluster", namespace, name)))
    ]
    pods = [
        pod
        for selector in _selectors(live)
        for pod in _list(kube, "Pod", namespace, labels=selector)
    ]
    names = tuple({ref.name} | {text(one, "metadata", "name") for one in [*parts, *pods]})
    events = [
        event
        for event in _list(kube, "Event", namespace)
        if text(event, "involvedObject", "name").startswith(names)
    ]
    return Evidence(ref, live, pods, events, parts)


def _clusters(live: Json) -> list[str]:
    """Return the names of a RayService's clusters whose health is in question: the newest."""
    if text(live, "kind") != "RayService":
        return []
    for which in ("pendingServiceStatus", "activeServiceStatus"):
        if name := text(live, "status", which, "rayClusterName"):
            return [name]
    return []


def _selectors(live: Json) -> list[str]:
    kind, name = text(live, "kind"), text(live, "metadata", "name")
    if kind == "RayService":
        return [f"{CLUSTER_OF_RAY}={cluster}" for cluster in _clusters(live)]
    if kind in {"KafkaTopic", "KafkaUser"}:
        cluster = text(live, "metadata", "labels", "strimzi.io/cluster")
        return [f"strimzi.io/name={cluster}-entity-operator"]
    if kind in WORKLOADS:
        labels = mapping(live, "spec", "selector", "matchLabels")
        return [",".join(f"{key}={value}" for key, value in labels.items())] if labels else []
    by_kind = {
        "RayCluster": CLUSTER_OF_RAY,
        "Kafka": "strimzi.io/cluster",
        "Job": "job-name",
        "HelmChart": "helmcharts.helm.cattle.io/chart",
    }
    return [f"{by_kind[kind]}={name}"] if kind in by_kind else []


def _list(kube: Kube, kind: str, namespace: str, *, labels: str = "") -> list[Json]:
    try:
        return kube.list("v1", kind, namespace=namespace, labels=labels)
    except (Forbidden, UnknownKind):
        return []
