"""Whether an object does what it is there for, told by what its controller wrote on it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from ray_pipeline.kubernetes.deploy.objects import (
    Json,
    condition,
    dig,
    is_true,
    mapping,
    number,
    text,
)

State = Literal["ready", "waiting", "failed", "missing"]
APPLICATION_RUNNING = "RUNNING"


@dataclass(frozen=True, slots=True)
class Readiness:
    """How far an object is, in a few words. `failed` says that waiting longer cannot help."""

    state: State
    detail: str


READY = Readiness("ready", "there")


def readiness(live: Json | None) -> Readiness:
    """Judge an object as the server has it; a kind that nobody has to wait for is ready at once."""
    if live is None:
        return Readiness("missing", "not there")
    if text(live, "metadata", "deletionTimestamp"):
        return Readiness("waiting", "being deleted")
    judge = JUDGES.get(text(live, "kind"))
    return judge(live) if judge else READY


def seen(live: Json) -> bool:
    """Say whether the controller has seen the present spec."""
    observed = number(live, "status", "observedGeneration", default=-1)
    return observed >= number(live, "metadata", "generation")


def _waiting(detail: str) -> Readiness:
    return Readiness("waiting", detail)


def _unseen(live: Json, operator: str) -> Readiness | None:
    return None if seen(live) else _waiting(f"{operator} has not seen it yet")


def _namespace(live: Json) -> Readiness:
    phase = text(live, "status", "phase")
    return READY if phase in {"Active", ""} else _waiting(phase)


def _crd(live: Json) -> Readiness:
    return READY if is_true(live, "Established") else _waiting("not established yet")


def _helm_chart(live: Json) -> Readiness:
    """Judge by the installing job's name: K3s writes no more; the job itself is looked at too."""
    if is_true(live, "Failed"):
        return Readiness("failed", text(condition(live, "Failed"), "message"))
    name = text(live, "status", "jobName")
    return Readiness("ready", f"job {name}") if name else _waiting("K3s has not begun it")


def _job(live: Json) -> Readiness:
    if is_true(live, "Complete"):
        return Readiness("ready", "complete")
    if is_true(live, "Failed"):
        failed = condition(live, "Failed")
        return Readiness("failed", f"{text(failed, 'reason')}: {text(failed, 'message')}")
    if dig(live, "spec", "suspend") is True:
        return Readiness("ready", "suspended")
    tries = number(live, "status", "failed")
    return _waiting(f"running, {tries} tries failed" if tries else "running")


def _replicas(live: Json) -> Readiness:
    wanted = number(live, "spec", "replicas", default=1)
    ready = number(live, "status", "readyReplicas")
    updated = number(live, "status", "updatedReplicas")
    if not seen(live) or min(ready, updated) < wanted:
        return _waiting(f"{min(ready, updated)} of {wanted} replicas ready")
    return Readiness("ready", f"{ready} replicas")


def _daemon_set(live: Json) -> Readiness:
    wanted = number(live, "status", "desiredNumberScheduled")
    ready = number(live, "status", "numberReady")
    if not seen(live) or ready < wanted:
        return _waiting(f"{ready} of {wanted} nodes ready")
    return Readiness("ready", f"{ready} nodes")


def _strimzi(live: Json) -> Readiness:
    if unseen := _unseen(live, "Strimzi"):
        return unseen
    if is_true(live, "Ready"):
        return Readiness("ready", "ready")
    not_ready = condition(live, "NotReady") or condition(live, "Ready")
    return _waiting(_because(not_ready) or "not ready yet")


def _node_pool(live: Json) -> Readiness:
    """Judge by being seen only: whether its brokers run is told by the Kafka object."""
    return _unseen(live, "Strimzi") or Readiness("ready", "seen")


def _ray_cluster(live: Json) -> Readiness:
    if dig(live, "spec", "suspend") is True:
        return Readiness("ready", "suspended")
    if unseen := _unseen(live, "KubeRay"):
        return unseen
    state = text(live, "status", "state")
    wanted = number(live, "status", "desiredWorkerReplicas")
    ready = number(live, "status", "readyWorkerReplicas")
    if state == "failed":
        return _waiting(f"failed: {text(live, 'status', 'reason')}")
    if is_true(live, "ReplicaFailure"):
        return _waiting(_because(condition(live, "ReplicaFailure")))
    if state == "ready" and ready >= wanted:
        return Readiness("ready", f"head and {ready} workers")
    head = "head ready" if is_true(live, "HeadPodReady") else "head not ready"
    return _waiting(f"{head}, {ready} of {wanted} workers")


def _ray_service(live: Json) -> Readiness:
    if dig(live, "spec", "suspend") is True:
        return Readiness("ready", "suspended")
    if unseen := _unseen(live, "KubeRay"):
        return unseen
    if pending := text(live, "status", "pendingServiceStatus", "rayClusterName"):
        return _waiting(f"cluster {pending} is not healthy yet{_old_one(live)}")
    applications = applications_of(live, "activeServiceStatus")
    late = {name: state for name, state, _ in applications if state != APPLICATION_RUNNING}
    if late:
        return _waiting(", ".join(f"application {name}: {state}" for name, state in late.items()))
    if is_true(live, "Ready") and applications:
        active = text(live, "status", "activeServiceStatus", "rayClusterName")
        return Readiness("ready", f"cluster {active} serves")
    return _waiting(_because(condition(live, "Ready")) or "no cluster serves yet")


def applications_of(service: Json, which: str) -> list[tuple[str, str, str]]:
    """Return (name, status, message) of each Serve application of one of the two clusters."""
    return [
        (name, text(one, "status"), text(one, "message"))
        for name, one in mapping(service, "status", which, "applicationStatuses").items()
    ]


def _old_one(service: Json) -> str:
    active = text(service, "status", "activeServiceStatus", "rayClusterName")
    return f"; {active} goes on serving" if active else ""


def _ray_job(live: Json) -> Readiness:
    state = text(live, "status", "jobDeploymentStatus") or "not seen yet"
    if state == "Failed":
        return Readiness(
            "failed", f"{text(live, 'status', 'reason')}: {text(live, 'status', 'message')}"
        )
    return Readiness("ready", state)  # runs take their time; nobody has to wait for one


def _claim(live: Json) -> Readiness:
    phase = text(live, "status", "phase")
    if phase == "Lost":
        return Readiness("failed", "its volume is gone")
    return Readiness("ready", phase or "asked for")  # bound when its first pod is placed


def _because(one: Json) -> str:
    return ": ".join(part for part in (text(one, "reason"), text(one, "message")) if part)


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
