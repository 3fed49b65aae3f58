"""
The state of an object on the cluster, for which its own status is not always enough.

K3s reports of a HelmChart only the name of its Job. KubeRay may leave a status as it is after a
change of the spec: then the operator, the cluster of a RayService and the pods of a RayCluster
show whether the change is in effect.
"""

from ray_pipeline.kubernetes.deploy.gather import CLUSTER_LABEL, kuberay, list_readable
from ray_pipeline.kubernetes.deploy.kube import Kube
from ray_pipeline.kubernetes.deploy.objects import Json, Ref, dig, kind_of, name_of, ref_of, text
from ray_pipeline.kubernetes.deploy.operator_state import outdated_pods, same_containers
from ray_pipeline.kubernetes.deploy.pod_diagnosis import Diagnosis
from ray_pipeline.kubernetes.deploy.readiness import Readiness, readiness, seen

KEPT_BY_STRATEGY = "an earlier spec, because of its upgradeStrategy None"


def live_state(kube: Kube, ref: Ref) -> Readiness:
    """
    Return the state of an object.

    Raises:
        UnknownKind: If the cluster does not serve its kind.
    """
    live = kube.get(ref)
    state = readiness(live)
    if live is None or dig(live, "spec", "suspend") is True:
        return state
    if ref.kind == "HelmChart" and state.state == "ready":
        return _state_of_install_job(kube, ref.namespace, text(live, "status", "jobName"))
    if ref.kind in {"RayCluster", "RayService"}:
        return _ray_state(kube, live, state)
    return state


def pods_to_replace(kube: Kube, cluster: Json) -> list[Ref]:
    """
    Return the outdated pods of a RayCluster that KubeRay does not replace itself.

    KubeRay replaces pods after a change of the spec only with `upgradeStrategy: Recreate`, which
    exists since 1.6. Without a strategy, the pods would keep the earlier image and settings.
    """
    if dig(cluster, "spec", "upgradeStrategy", "type") is not None:
        return []
    return [ref_of(pod) for pod in outdated_pods(cluster, pods_of_cluster(kube, cluster))]


def pods_of_cluster(kube: Kube, cluster: Json) -> list[Json]:
    """Return the pods of a RayCluster."""
    ref = ref_of(cluster)
    return list_readable(kube, "Pod", ref.namespace, labels=f"{CLUSTER_LABEL}={ref.name}")


def _state_of_install_job(kube: Kube, namespace: str, name: str) -> Readiness:
    live = kube.get(Ref("batch/v1", "Job", namespace, name))
    if live is None:
        return Readiness("ready", "installed")  # its Job was cleaned up
    if dig(live, "spec", "suspend") is True:
        return Readiness("waiting", "its job has not begun")  # K3s creates it suspended
    return readiness(live)


def _ray_state(kube: Kube, live: Json, state: Readiness) -> Readiness:
    if not seen(live) and not text(live, "metadata", "deletionTimestamp"):
        operator = kuberay(kube)
        if operator.running_since is None:
            return Readiness("waiting", f"{state.detail}: its operator does not run")
        if operator.has_acted(live):
            state = readiness(live, current=True)
    if state.state != "ready":
        return state
    return _service(kube, live, state) if kind_of(live) == "RayService" else (
        _cluster(kube, live, state)
    )  # fmt: skip


def _service(kube: Kube, live: Json, state: Readiness) -> Readiness:
    name = text(live, "status", "activeServiceStatus", "rayClusterName")
    cluster = kube.find(Ref("ray.io/v1", "RayCluster", ref_of(live).namespace, name))
    if cluster is None or same_containers(cluster, live):
        return state
    if text(live, "spec", "upgradeStrategy", "type") == "None":
        return Readiness("ready", f"cluster {name} serves {KEPT_BY_STRATEGY}")
    detail = f"cluster {name} serves an earlier spec; KubeRay has not begun another one"
    return waiting(ref_of(live).short, detail, "the log of the KubeRay operator names the reason")


def _cluster(kube: Kube, live: Json, state: Readiness) -> Readiness:
    outdated = outdated_pods(live, pods_of_cluster(kube, live))
    if not outdated:
        return state
    if text(live, "spec", "upgradeStrategy", "type") == "None":
        return Readiness("ready", f"{state.detail}, of {KEPT_BY_STRATEGY}")
    names = " ".join(map(name_of, outdated))
    command = f"`kubectl delete pod -n {ref_of(live).namespace} {names}` replaces them at once"
    return waiting(ref_of(live).short, f"pods of an earlier spec still run: {names}", command)


def waiting(subject: str, detail: str, fix: str) -> Readiness:
    """Return that an object is not ready yet, for a reason that is known."""
    return Readiness("waiting", detail, (Diagnosis(subject, detail, fix),))
