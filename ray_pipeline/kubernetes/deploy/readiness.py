"""
Whether an object works, judged by the status that its controller wrote.

A status describes the spec that the controller saw last. Controllers report that spec's number in
`observedGeneration`: if it is lower than `metadata.generation`, the status is outdated and says
nothing about the present spec. KubeRay is an exception, see `operator_state`. Kinds without a
judge below are ready when they exist.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from ray_pipeline.kubernetes.deploy.objects import (
    Json,
    condition,
    dig,
    is_true,
    kind_of,
    mapping,
    number,
    reason_of,
    text,
)
from ray_pipeline.kubernetes.deploy.pod_diagnosis import Diagnosis

State = Literal["ready", "waiting", "failed", "missing"]
APPLICATION_RUNNING = "RUNNING"


@dataclass(frozen=True, slots=True)
class Readiness:
    """
    How far an object is.

    Attributes:
        state: `failed` means that waiting longer cannot help.
        detail: A few words.
        findings: The reasons, if they are known already; else `explain` finds them.
    """

    state: State
    detail: str
    findings: tuple[Diagnosis, ...] = ()


READY = Readiness("ready", "there")


def readiness(live: Json | None, *, current: bool = False) -> Readiness:
    """
    Judge an object as the server returned it; None for an object that does not exist.

    Args:
        live: The object.
        current: Its status is known to describe the present spec, whatever `observedGeneration` is.
    """
    if live is None:
        return Readiness("missing", "not there")
    if text(live, "metadata", "deletionTimestamp"):
        return _waiting("being deleted")
    kind = kind_of(live)
    if operator := OPERATORS.get(kind):
        if dig(live, "spec", "suspend") is True:
            return _ready("suspended")
        if not current and not seen(live):
            return _waiting(f"{operator} has not seen it yet")
    judge = JUDGES.get(kind)
    return judge(live) if judge else READY


def seen(live: Json) -> bool:
    """Say whether the controller has seen the present spec."""
    observed = number(live, "status", "observedGeneration", default=-1)
    return observed >= number(live, "metadata", "generation")


def applications_of(service: Json, status: str) -> list[tuple[str, str, str]]:
    """Return (name, status, message) of each Serve application of one of the two clusters."""
    return [
        (name, text(application, "status"), text(application, "message"))
        for name, application in mapping(service, "status", status, "applicationStatuses").items()
    ]


def _ready(detail: str) -> Readiness:
    return Readiness("ready", detail)


def _waiting(detail: str) -> Readiness:
    return Readiness("waiting", detail)


def _failed(detail: str) -> Readiness:
    return Readiness("failed", detail)


def _counted(ready: int, desired: int, *, unit: str, live: Json) -> Readiness:
    if not seen(live) or ready < desired:
        return _waiting(f"{ready} of {desired} {unit} ready")
    return _ready(f"{ready} {unit}")


def _namespace(live: Json) -> Readiness:
    phase = text(live, "status", "phase")
    return READY if phase in {"Active", ""} else _waiting(phase)


def _crd(live: Json) -> Readiness:
    return READY if is_true(live, "Established") else _waiting("not established yet")


def _helm_chart(live: Json) -> Readiness:
    """Judge by the name of the installing Job: K3s reports no more. `rollout` judges that Job."""
    if is_true(live, "Failed"):
        return _failed(text(condition(live, "Failed"), "message"))
    name = text(live, "status", "jobName")
    return _ready(f"job {name}") if name else _waiting("K3s has not begun it")


def _job(live: Json) -> Readiness:
    if is_true(live, "Complete"):
        return _ready("complete")
    if is_true(live, "Failed"):
        return _failed(reason_of(condition(live, "Failed")))
    if dig(live, "spec", "suspend") is True:
        return _ready("suspended")
    tries = number(live, "status", "failed")
    return _waiting(f"running, {tries} tries failed" if tries else "running")


def _replicas(live: Json) -> Readiness:
    # During a rolling update, pods of the previous template are ready too; updated ones count.
    ready = min(number(live, "status", "readyReplicas"), number(live, "status", "updatedReplicas"))
    desired = number(live, "spec", "replicas", default=1)
    return _counted(ready, desired, unit="replicas", live=live)


def _daemon_set(live: Json) -> Readiness:
    desired = number(live, "status", "desiredNumberScheduled")
    return _counted(number(live, "status", "numberReady"), desired, unit="nodes", live=live)


def _strimzi(live: Json) -> Readiness:
    if is_true(live, "Ready"):
        return _ready("ready")
    not_ready = condition(live, "NotReady") or condition(live, "Ready")
    return _waiting(reason_of(not_ready) or "not ready yet")


def _node_pool(_: Json) -> Readiness:
    # A node pool has no condition for its brokers. The Kafka object reports them.
    return _ready("seen")


def _ray_cluster(live: Json) -> Readiness:
    state = text(live, "status", "state")
    desired = number(live, "status", "desiredWorkerReplicas")
    ready = number(live, "status", "readyWorkerReplicas")
    if state == "failed":
        # KubeRay keeps trying, so the object may still become ready.
        return _waiting(f"failed: {text(live, 'status', 'reason')}")
    if is_true(live, "ReplicaFailure"):
        return _waiting(reason_of(condition(live, "ReplicaFailure")))
    # The state remains `ready` while pods are replaced; the conditions follow the pods.
    has_head = is_true(live, "HeadPodReady") or not condition(live, "HeadPodReady")
    if state == "ready" and has_head and ready >= desired:
        return _ready(f"head and {ready} workers")
    head = "head ready" if is_true(live, "HeadPodReady") else "head not ready"
    return _waiting(f"{head}, {ready} of {desired} workers")


def _ray_service(live: Json) -> Readiness:
    # An upgrade starts a second, pending cluster. The service is not ready before KubeRay has
    # promoted that cluster, although the active cluster still serves and `Ready` is still true.
    active = text(live, "status", "activeServiceStatus", "rayClusterName")
    if pending := text(live, "status", "pendingServiceStatus", "rayClusterName"):
        serving = f"; {active} goes on serving" if active else ""
        return _waiting(f"cluster {pending} is not healthy yet{serving}")
    applications = applications_of(live, "activeServiceStatus")
    late = [
        f"application {name}: {state}"
        for name, state, _ in applications
        if state != APPLICATION_RUNNING
    ]
    if late:
        return _waiting(", ".join(late))
    if is_true(live, "Ready") and applications:
        return _ready(f"cluster {active} serves")
    return _waiting(reason_of(condition(live, "Ready")) or "no cluster serves yet")


def _ray_job(live: Json) -> Readiness:
    state = text(live, "status", "jobDeploymentStatus") or "not seen yet"
    # A run may take hours, so an apply does not wait for its end.
    return _failed(reason_of(mapping(live, "status"))) if state == "Failed" else _ready(state)


def _claim(live: Json) -> Readiness:
    phase = text(live, "status", "phase")
    # A claim is bound when its first pod is scheduled, so a pending claim holds up nothing.
    return _failed("its volume is gone") if phase == "Lost" else _ready(phase or "asked for")


# The operators that write the status of these kinds.
OPERATORS = dict.fromkeys(("Kafka", "KafkaTopic", "KafkaUser", "KafkaNodePool"), "Strimzi") | (
    dict.fromkeys(("RayCluster", "RayService"), "KubeRay")
)
JUDGES: dict[str, Callable[[Json], Readiness]] = {
    "Namespace": _namespace,
    "CustomResourceDefinition": _crd,
    "HelmChart": _helm_chart,
    "Job": _job,
    "Deployment": _replicas,
    "StatefulSet": _replicas,
    "DaemonSet": _daemon_set,
    "Kafka": _strimzi,
    "KafkaTopic": _strimzi,
    "KafkaUser": _strimzi,
    "KafkaNodePool": _node_pool,
    "RayCluster": _ray_cluster,
    "RayService": _ray_service,
    "RayJob": _ray_job,
    "PersistentVolumeClaim": _claim,
}
