"""Collect what explains an object that is not ready: its parts, its pods, and their events."""

from ray_pipeline.kubernetes.deploy.explain import Evidence
from ray_pipeline.kubernetes.deploy.failures import Forbidden, UnknownKind
from ray_pipeline.kubernetes.deploy.kube import Kube
from ray_pipeline.kubernetes.deploy.objects import Json, Ref, kind_of, mapping, name_of, text
from ray_pipeline.kubernetes.deploy.operator_state import (
    LONG_AGO,
    OPERATOR_PODS,
    Operator,
    running_since,
)

CLUSTER_LABEL = "ray.io/cluster"
# The label that carries the owner's name on its pods.
POD_LABELS = {
    "RayCluster": CLUSTER_LABEL,
    "Kafka": "strimzi.io/cluster",
    "Job": "job-name",
    "HelmChart": "helmcharts.helm.cattle.io/chart",
}


def gather(kube: Kube, ref: Ref, live: Json | None) -> Evidence:
    """Return what the user may read about the object; the rest is left out."""
    if live is None:
        return Evidence(ref, None)
    namespace, cluster = ref.namespace, _cluster_of_service(live)
    part = kube.get(Ref("ray.io/v1", "RayCluster", namespace, cluster)) if cluster else None
    parts = [part] if part else []
    selector = _pod_selector(live)
    pods = list_readable(kube, "Pod", namespace, labels=selector) if selector else []
    # Events name their object only. A prefix also covers what an operator created under the
    # object's name and removed since.
    names = tuple({ref.name, *map(name_of, [*parts, *pods])})
    events = [
        event
        for event in list_readable(kube, "Event", namespace)
        if text(event, "involvedObject", "name").startswith(names)
    ]
    operator = kuberay(kube) if ref.group == "ray.io" else None
    return Evidence(ref, live, pods, events, parts, operator)


def kuberay(kube: Kube) -> Operator:
    """Return the KubeRay operator of any namespace."""
    now = kube.now()
    try:
        pods = kube.list("v1", "Pod", namespace="", labels=OPERATOR_PODS)
    except Forbidden:
        return Operator(LONG_AGO, now)
    return Operator(running_since(pods), now)


def _cluster_of_service(live: Json) -> str:
    """Return the name of a RayService's newest cluster, the one in question; empty without one."""
    if kind_of(live) != "RayService":
        return ""
    statuses = ("pendingServiceStatus", "activeServiceStatus")
    names = (text(live, "status", status, "rayClusterName") for status in statuses)
    return next(filter(None, names), "")


def _pod_selector(live: Json) -> str:
    """Return the label selector of the object's pods; empty for an object without pods."""
    kind = kind_of(live)
    if kind in {"KafkaTopic", "KafkaUser"}:  # their operators run in the entity operator's pod
        cluster = text(live, "metadata", "labels", "strimzi.io/cluster")
        return f"strimzi.io/name={cluster}-entity-operator"
    if kind in {"Deployment", "StatefulSet", "DaemonSet"}:
        labels = mapping(live, "spec", "selector", "matchLabels")
        return ",".join(f"{key}={value}" for key, value in labels.items())
    if cluster := _cluster_of_service(live):
        return f"{CLUSTER_LABEL}={cluster}"
    return f"{POD_LABELS[kind]}={name_of(live)}" if kind in POD_LABELS else ""


def list_readable(
    kube: Kube, kind: str, namespace: str, *, labels: str = "", version: str = "v1"
) -> list[Json]:
    """Return the objects of a kind; none if the user may not read them, or the kind is unknown."""
    try:
        return kube.list(version, kind, namespace=namespace, labels=labels)
    except (Forbidden, UnknownKind):
        return []
