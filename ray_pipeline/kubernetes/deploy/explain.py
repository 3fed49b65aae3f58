"""
Why an object is not ready, from its status, its pods, and their events.

Problems of pods come first, because they are usually the cause of what the owner's status reports.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from ray_pipeline.kubernetes.deploy.objects import (
    Json,
    Ref,
    condition,
    elements,
    is_true,
    items,
    kind_of,
    mapping,
    reason_of,
    ref_of,
    text,
)
from ray_pipeline.kubernetes.deploy.operator_state import OPERATOR_PODS, Operator
from ray_pipeline.kubernetes.deploy.pod_diagnosis import (
    Diagnosis,
    diagnose_creation,
    diagnose_pods,
)
from ray_pipeline.kubernetes.deploy.readiness import (
    APPLICATION_RUNNING,
    applications_of,
    readiness,
    seen,
)

OPERATOR_OF = {
    "RayCluster": "kuberay-operator",
    "RayService": "kuberay-operator",
    "RayJob": "kuberay-operator",
    "Kafka": "strimzi-cluster-operator",
    "KafkaNodePool": "strimzi-cluster-operator",
    "KafkaTopic": "the topic operator (entityOperator.topicOperator of the Kafka object)",
    "KafkaUser": "the user operator (entityOperator.userOperator of the Kafka object)",
    "HelmChart": "K3s' Helm controller",
}
GCS_FINALIZER = "ray.io/gcs-ft-redis-cleanup-finalizer"
# By the state of a Serve application: the cause and the fix.
APPLICATIONS = {
    "DEPLOY_FAILED": (
        "its code failed to start",
        "the last line of the message is the error of the code in the image; correct it and apply "
        "again, or go back: `ray-pipeline deploy rollback`",
    ),
    "UNHEALTHY": (
        "it runs but calls itself unhealthy",
        "`/why` of the service shows the reason; the old cluster serves until it is healthy",
    ),
}
WAIT_FOR_REPLICAS = (
    "replicas wait for free CPU on the workers: `ray status` on the head shows the demand"
)
FOLLOW_MESSAGE = "correct what the message names"
# Fixes by a word of Strimzi's reason and message. The first match counts.
STRIMZI_FIXES = (
    ("nodepool", "add KafkaNodePools with the label strimzi.io/cluster and the required roles"),
    ("node pool", "add KafkaNodePools with the label strimzi.io/cluster and the required roles"),
    ("timeout", "its pods take too long: the findings about them give the reason"),
    ("version", "name a Kafka version that this Strimzi supports (1.2.0: 4.2.0 to 4.3.1)"),
    ("not authorized", "give the KafkaUser the ACL that the message names"),
    ("unauthorized", "give the KafkaUser the ACL that the message names"),
    ("", f"{FOLLOW_MESSAGE}; the operator tries again by itself"),
)


@dataclass(frozen=True, slots=True)
class Evidence:
    """
    What the cluster reports about one object that is not ready.

    Attributes:
        pods: Its pods, owned directly or through other objects.
        events: The events of the object, its parts and its pods.
        parts: The objects that it created and that have a status, such as a RayService's clusters.
        operator: The KubeRay operator, for its objects; None for others.
    """

    ref: Ref
    live: Json | None
    pods: Sequence[Json] = ()
    events: Sequence[Json] = ()
    parts: Sequence[Json] = ()
    operator: Operator | None = None


def explain(evidence: Evidence) -> list[Diagnosis]:
    """Return why the object is not ready, the likeliest cause first; at least one diagnosis."""
    live = evidence.live
    if live is None:
        return [Diagnosis(str(evidence.ref), "it is not in the cluster", "apply again")]
    diagnoses = [
        *diagnose_pods(evidence.pods, evidence.events),
        *diagnose_creation(evidence.events),
        *_of_object(evidence, live),
    ]
    return list(dict.fromkeys(diagnoses)) or [_unexplained(evidence.ref, live)]


def _of_object(evidence: Evidence, live: Json) -> Iterator[Diagnosis]:
    ref = evidence.ref
    if text(live, "metadata", "deletionTimestamp"):
        yield being_deleted(ref, live)
    elif ref.kind in OPERATOR_OF and not _seen(live) and not _has_acted(evidence, live):
        yield _silent_operator(evidence)
    elif ref.kind == "RayService":
        yield from _ray_service(evidence, live)
    elif ref.kind in BY_STATUS:
        yield from BY_STATUS[ref.kind](live)


def being_deleted(ref: Ref, live: Json) -> Diagnosis:
    """Return what holds up the deletion of an object."""
    finalizers = list(map(str, elements(live, "metadata", "finalizers")))
    fix = "the operator of that finalizer must run: `kubectl get pods -A` shows whether it does"
    if GCS_FINALIZER in finalizers:
        fix = (
            "KubeRay removes it after its job emptied the head's Redis, so the operator and "
            f"gcs-redis must run. If they cannot run again: `kubectl patch {ref.kind.lower()} "
            f"{ref.name} -n {ref.namespace} --type=merge -p "
            '\'{"metadata":{"finalizers":null}}\'`, and delete the volume of gcs-redis'
        )
    waits_for = ", ".join(finalizers) or "the objects that it owns"
    return Diagnosis(str(ref), f"is being deleted and waits for {waits_for}", fix)


def _seen(live: Json) -> bool:
    # K3s' Helm controller reports no observedGeneration, only the name of its Job.
    return bool(text(live, "status", "jobName")) if kind_of(live) == "HelmChart" else seen(live)


def _has_acted(evidence: Evidence, live: Json) -> bool:
    # An object without a status was never seen, however long its operator runs.
    operator = evidence.operator
    return operator is not None and operator.has_acted(live) and bool(mapping(live, "status"))


def _silent_operator(evidence: Evidence) -> Diagnosis:
    ref, operator = evidence.ref, evidence.operator
    name, log = OPERATOR_OF[ref.kind], "`kubectl get pods -A | grep operator`; its log names errors"
    if operator is None:
        why = f"no operator has seen it yet: {name} does not run, or does not watch the namespace "
        return Diagnosis(str(ref), f"{why}{ref.namespace}", log)
    if operator.running_since is None:
        why = f"{name} does not run: no pod with the label {OPERATOR_PODS} is ready"
        fix = f"`kubectl get pods -A -l {OPERATOR_PODS}` shows its pod, if there is one"
        return Diagnosis(str(ref), why, fix)
    why = f"{name} runs, but has not seen it yet: does it watch the namespace {ref.namespace}?"
    return Diagnosis(str(ref), why, f"its argument --watch-namespace names the namespaces; {log}")


def _ray_service(evidence: Evidence, live: Json) -> Iterator[Diagnosis]:
    # While an upgrade is pending, the pending cluster is the one that is not ready.
    pending = text(live, "status", "pendingServiceStatus", "rayClusterName")
    status = "pendingServiceStatus" if pending else "activeServiceStatus"
    service = evidence.ref.short
    cluster = f"{service}, cluster {text(live, 'status', status, 'rayClusterName')}"
    applications = applications_of(live, status)
    for name, state, message in applications:
        if state != APPLICATION_RUNNING:
            cause, fix = APPLICATIONS.get(state, (state, WAIT_FOR_REPLICAS))
            default = "no message" if state in APPLICATIONS else "it waits for its replicas"
            why = f"{cause}: {' '.join(message.split()) or default}"
            yield Diagnosis(f"{cluster}, application {name}", why, fix)
            yield from _deployments(live, status, name, cluster)
    for part in evidence.parts:
        yield from _ray_cluster(part)
    for event in evidence.events:
        about_service = text(event, "involvedObject", "name") == evidence.ref.name
        if about_service and text(event, "reason").startswith("Invalid"):
            why = f"KubeRay refuses it: {text(event, 'message')}"
            yield Diagnosis(service, why, "correct the manifest")
    if pending and not applications and not evidence.pods:
        yield Diagnosis(
            cluster,
            "its cluster has no pods yet",
            "`kubectl describe raycluster` shows what KubeRay tries",
        )
    if text(condition(live, "Ready"), "reason") == "InitializingTimeout":
        yield Diagnosis(
            service,
            "it did not start within ray.io/initializing-timeout, which is final",
            "delete the RayService and apply again; a change of its spec cannot revive it",
        )


def _deployments(live: Json, status: str, application: str, cluster: str) -> Iterator[Diagnosis]:
    path = ("status", status, "applicationStatuses", application, "serveDeploymentStatuses")
    for name, deployment in mapping(live, *path).items():
        message = " ".join(text(deployment, "message").split())
        if text(deployment, "status") not in {"HEALTHY", ""} and message:
            yield Diagnosis(f"{cluster}, deployment {name}", message, FOLLOW_MESSAGE)


def _ray_cluster(live: Json) -> Iterator[Diagnosis]:
    subject, reason = f"RayCluster {ref_of(live).name}", text(live, "status", "reason")
    if is_true(live, "ReplicaFailure"):
        why = f"pods cannot be created: {reason_of(condition(live, 'ReplicaFailure'))}"
        yield Diagnosis(subject, why, FOLLOW_MESSAGE)
    elif text(live, "status", "state") == "failed":
        yield Diagnosis(subject, reason, FOLLOW_MESSAGE)
    elif reason:
        yield Diagnosis(subject, reason, f"wait, or {FOLLOW_MESSAGE}")


def _strimzi(live: Json) -> Iterator[Diagnosis]:
    for item in items(live, "status", "conditions"):
        is_problem = text(item, "type") in {"NotReady", "Warning"} and item.get("status") == "True"
        if is_problem and text(item, "message"):
            why = reason_of(item)
            fix = next(fix for word, fix in STRIMZI_FIXES if word in why.lower())
            yield Diagnosis(ref_of(live).short, why, fix)


def _job(live: Json) -> Iterator[Diagnosis]:
    if is_true(live, "Failed"):
        ref = ref_of(live)
        yield Diagnosis(
            ref.short,
            reason_of(condition(live, "Failed")),
            f"`kubectl logs job/{ref.name} -n {ref.namespace}` shows the reason; after the cause "
            "is removed, apply again: a failed Job is replaced",
        )


def _helm_chart(live: Json) -> Iterator[Diagnosis]:
    ref, job = ref_of(live), text(live, "status", "jobName")
    message = text(condition(live, "Failed"), "message") if is_true(live, "Failed") else ""
    yield Diagnosis(
        ref.short,
        message or f"its job {job} has not completed",
        f"`kubectl logs -n {ref.namespace} job/{job}` shows the reason; K3s starts a job that "
        f"failed for good again after `kubectl delete -n {ref.namespace} job/{job}`",
    )


def _unexplained(ref: Ref, live: Json) -> Diagnosis:
    namespace = f" -n {ref.namespace}" if ref.namespace else ""
    return Diagnosis(
        ref.short,
        f"{readiness(live).detail}; nothing in its pods or events says more",
        "give it more time (--timeout), and look: "
        f"`kubectl describe {ref.kind.lower()} {ref.name}{namespace}`",
    )


BY_STATUS: dict[str, Callable[[Json], Iterator[Diagnosis]]] = {
    "RayCluster": _ray_cluster,
    "Kafka": _strimzi,
    "KafkaTopic": _strimzi,
    "KafkaUser": _strimzi,
    "Job": _job,
    "HelmChart": _helm_chart,
}
