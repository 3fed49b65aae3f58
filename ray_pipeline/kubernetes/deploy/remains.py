"""
What a deleted object leaves behind for a while: its pods, and the RayClusters of a RayService.

A deleted object is gone at once if no finalizer holds it, and its pods end after it. Until then
they need their stores, and KubeRay needs the head's Redis to end a RayCluster. Pods are found by
labels, because a repeated delete no longer finds their owners.
"""

import re
from collections.abc import Iterator, Sequence

from ray_pipeline.kubernetes.deploy.explain import being_deleted
from ray_pipeline.kubernetes.deploy.gather import CLUSTER_LABEL, list_readable
from ray_pipeline.kubernetes.deploy.kube import Kube
from ray_pipeline.kubernetes.deploy.objects import (
    Json,
    elements,
    kind_of,
    mapping,
    name_of,
    ref_of,
    selects,
    text,
)
from ray_pipeline.kubernetes.deploy.operator_state import is_ending
from ray_pipeline.kubernetes.deploy.pod_diagnosis import Diagnosis
from ray_pipeline.kubernetes.deploy.readiness import Readiness

ORIGIN = "ray.io/originated-from-cr-name"
# By kind: the label of its pods, and the values that it has, as a pattern with the object's name.
POD_LABELS = {
    "RayCluster": (CLUSTER_LABEL, "{}"),
    "RayService": (CLUSTER_LABEL, "{}-[a-z0-9]{{5}}"),
    "RayJob": (CLUSTER_LABEL, "{}-[a-z0-9]{{5}}"),
    "RayCronJob": (CLUSTER_LABEL, "{}-[0-9]+-[a-z0-9]{{5}}"),
    "Kafka": ("strimzi.io/cluster", "{}"),
    "Job": ("job-name", "{}"),
    "CronJob": ("job-name", "{}-[0-9]+"),
}
SELECTING = frozenset({"Deployment", "StatefulSet", "DaemonSet", "ReplicaSet"})
GONE = Readiness("missing", "gone, with its pods")


def remains(kube: Kube, obj: Json) -> Readiness:
    """Return `missing` if nothing of a deleted object remains; else what remains, and why."""
    namespace = ref_of(obj).namespace
    pods = []
    if kind_of(obj) in POD_LABELS or kind_of(obj) in SELECTING:
        pods = [pod for pod in list_readable(kube, "Pod", namespace) if has_pod(obj, pod)]
    remaining = [*_clusters(kube, obj), *pods]
    if not remaining:
        return GONE
    names = ", ".join(f"{kind_of(item)} {name_of(item)}" for item in remaining)
    return Readiness("waiting", f"waits for {names}", tuple(_findings(remaining)))


def has_pod(obj: Json, pod: Json) -> bool:
    """Say whether a pod belongs to the object, or to what the object created."""
    labels = mapping(pod, "metadata", "labels")
    if kind_of(obj) in SELECTING:
        return selects(mapping(obj, "spec", "selector", "matchLabels"), labels)
    label, pattern = POD_LABELS[kind_of(obj)]
    name = re.escape(name_of(obj))
    return re.fullmatch(pattern.format(name), text(labels, label)) is not None


def _clusters(kube: Kube, obj: Json) -> list[Json]:
    """Return the RayClusters of a RayService or RayJob; they end after their owner is gone."""
    if kind_of(obj) not in {"RayService", "RayJob"}:
        return []
    ref = ref_of(obj)
    return list_readable(
        kube, "RayCluster", ref.namespace, labels=f"{ORIGIN}={ref.name}", version=ref.api_version
    )


def _findings(remaining: Sequence[Json]) -> Iterator[Diagnosis]:
    for item in remaining:
        yield _pod(item) if kind_of(item) == "Pod" else being_deleted(ref_of(item), item)


def _pod(pod: Json) -> Diagnosis:
    ref, node = ref_of(pod), text(pod, "spec", "nodeName")
    command = f"kubectl delete pod {ref.name} -n {ref.namespace}"
    if not is_ending(pod):
        why = "still runs, although its owner is deleted"
        return Diagnosis(str(ref), why, f"wait; if nothing deletes it: `{command}`")
    if elements(pod, "metadata", "finalizers"):
        return being_deleted(ref, pod)
    since, grace = (
        text(pod, "metadata", name)
        for name in ("deletionTimestamp", "deletionGracePeriodSeconds")
    )  # fmt: skip
    return Diagnosis(
        str(ref),
        f"ends on node {node or 'unknown'}; its {grace or 30} s are over at {since}",
        f"if the node is gone (`kubectl get node {node}`): `{command} --grace-period=0 --force`",
    )
