"""Why a rollout is stuck, in words: from the object, its pods, and what the cluster reported."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from ray_pipeline.kubernetes.deploy.objects import (
    Json,
    Ref,
    condition,
    is_true,
    items,
    mapping,
    text,
)
from ray_pipeline.kubernetes.deploy.pod_problems import Finding, judge_creation, judge_pods
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


@dataclass(frozen=True, slots=True)
class Evidence:
    """
    What there is to see of one object that is not ready.

    Attributes:
        pods: Those that it owns, directly or through others.
        events: Of its namespace.
        parts: What it made that has a status of its own, such as a RayService's clusters.
    """

    ref: Ref
    live: Json | None
    pods: Sequence[Json] = ()
    events: Sequence[Json] = ()
    parts: Sequence[Json] = field(default=())


def explain(evidence: Evidence) -> list[Finding]:
    """Return why the object is not ready, the likeliest cause first; at least one finding."""
    if evidence.live is None:
        return [Finding(str(evidence.ref), "it is not in the cluster", "apply again")]
    found = [
        *judge_pods(evidence.pods, evidence.events),
        *judge_creation(evidence.events),
        *_of_object(evidence, evidence.live),
    ]
    return list(dict.fromkeys(found)) or [_unexplained(evidence, evidence.live)]


def _of_object(evidence: Evidence, live: Json) -> Iterator[Finding]:
    if text(live, "metadata", "deletionTimestamp"):
        yield _held(evidence.ref, live)
    elif evidence.ref.kind in OPERATOR_OF and _unseen(live):
        yield _no_operator(evidence.ref)
    elif evidence.ref.kind == "RayService":
        yield from _ray_service(evidence, live)
    elif evidence.ref.kind == "RayCluster":
        yield from _ray_cluster(evidence.ref, live)
    elif evidence.ref.kind in {"Kafka", "KafkaTopic", "KafkaUser"}:
        yield from _strimzi(evidence, live)
    elif evidence.ref.kind == "Job":
        yield from _job(evidence.ref, live)
    elif evidence.ref.kind == "HelmChart":
        yield _helm_chart(evidence.ref, live)


def _unseen(live: Json) -> bool:
    if text(live, "kind") == "HelmChart":
        return not text(live, "status", "jobName")
    return not seen(live)


def _held(ref: Ref, live: Json) -> Finding:
    holders = ", ".join(str(one) for one in _list(live, "metadata", "finalizers"))
    return Finding(
        str(ref),
        f"is being deleted and waits for {holders or 'what it owns'}",
        "the operator behind that finalizer must run: `kubectl get pods -A` shows whether it does",
    )


def _list(value: Json, *path: str) -> list[object]:
    found: object = value
    for step in path:
        found = found.get(step) if isinstance(found, dict) else None
    return found if isinstance(found, list) else []


def _no_operator(ref: Ref) -> Finding:
    operator = OPERATOR_OF[ref.kind]
    return Finding(
        str(ref),
        f"nobody has looked at it yet: {operator} does not run, or does not watch "
        f"the namespace {ref.namespace}",
        "`kubectl get pods -A | grep operator`; its log names what it refuses",
    )


def _ray_service(evidence: Evidence, live: Json) -> Iterator[Finding]:
    pending = text(live, "status", "pendingServiceStatus", "rayClusterName")
    which = "pendingServiceStatus" if pending else "activeServiceStatus"
    what = (
        f"{evidence.ref.short}, cluster {pending or text(live, 'status', which, 'rayClusterName')}"
    )
    for name, state, message in applications_of(live, which):
        if state != APPLICATION_RUNNING:
            yield _application(f"{what}, application {name}", state, message)
            yield from _deployments(live, which, name, what)
    for part in evidence.parts:
        yield from _ray_cluster(Ref("", "RayCluster", "", text(part, "metadata", "name")), part)
    for refused in _events_of(evidence, "Invalid"):
        yield Finding(evidence.ref.short, f"KubeRay refuses it: {refused}", "correct the manifest")
    ready = condition(live, "Ready")
    if pending and not applications_of(live, which) and not evidence.pods:
        yield Finding(
            what,
            "its cluster has no pods yet",
            "`kubectl describe raycluster` shows what KubeRay tries",
        )
    if text(ready, "reason") == "InitializingTimeout":
        yield Finding(
            evidence.ref.short,
            "it did not start within ray.io/initializing-timeout, which is final",
            "delete the RayService and apply again; a change of its spec cannot revive it",
        )


def _application(what: str, state: str, message: str) -> Finding:
    said = " ".join(message.split())
    if state == "DEPLOY_FAILED":
        return Finding(
            what,
            f"its code failed to start: {said or 'no message'}",
            "the last line of the message is the error of the code in the image; correct it and "
            "apply again, or go back: `ray-pipeline deploy rollback`",
        )
    if state == "UNHEALTHY":
        return Finding(
            what,
            f"it runs but calls itself unhealthy: {said or 'no message'}",
            "`/why` of the service tells what it misses; the old cluster goes on until it is well",
        )
    return Finding(
        what,
        f"{state}: {said or 'it waits for its replicas'}",
        "replicas wait for free CPU on the workers: `ray status` on the head tells what is asked",
    )


def _deployments(live: Json, which: str, application: str, what: str) -> Iterator[Finding]:
    path = ("status", which, "applicationStatuses", application, "serveDeploymentStatuses")
    for name, one in mapping(live, *path).items():
        message = " ".join(text(one, "message").split())
        if text(one, "status") not in {"HEALTHY", ""} and message:
            yield Finding(f"{what}, deployment {name}", message, "correct what the message names")


def _ray_cluster(ref: Ref, live: Json) -> Iterator[Finding]:
    failure = condition(live, "ReplicaFailure")
    if is_true(live, "ReplicaFailure"):
        why = f"{text(failure, 'reason')}: {text(failure, 'message')}"
        yield Finding(ref.short, f"pods cannot be created: {why}", "correct what the message names")
    elif text(live, "status", "state") == "failed":
        yield Finding(ref.short, text(live, "status", "reason"), "correct what the message names")
    elif text(live, "status", "reason"):
        yield Finding(ref.short, text(live, "status", "reason"), "wait, or correct what it names")


def _strimzi(evidence: Evidence, live: Json) -> Iterator[Finding]:
    for one in items(live, "status", "conditions"):
        bad = text(one, "type") in {"NotReady", "Warning"} and one.get("status") == "True"
        if bad and (message := text(one, "message")):
            reason = text(one, "reason")
            yield Finding(evidence.ref.short, f"{reason}: {message}", _strimzi_fix(reason, message))


def _strimzi_fix(reason: str, message: str) -> str:
    if "NodePool" in message or "node pool" in message:
        return "add KafkaNodePools with the label strimzi.io/cluster and the roles the message asks"
    if "Timeout" in reason or "Exceeded timeout" in message:
        return "its pods take too long: the findings beside this one say why"
    if "version" in message.lower():
        return "name a Kafka version that this Strimzi knows (1.2.0: 4.2.0 to 4.3.1)"
    if "not authorized" in message.lower() or "Unauthorized" in reason:
        return "give the KafkaUser the ACL that the message names"
    return "correct what the message names; the operator tries again by itself"


def _job(ref: Ref, live: Json) -> Iterator[Finding]:
    failed = condition(live, "Failed")
    if is_true(live, "Failed"):
        yield Finding(
            ref.short,
            f"{text(failed, 'reason')}: {text(failed, 'message')}",
            f"`kubectl logs job/{ref.name} -n {ref.namespace}` says why; after the cause is "
            "removed, apply again: a failed Job is made anew",
        )


def _helm_chart(ref: Ref, live: Json) -> Finding:
    job = text(live, "status", "jobName")
    failed = text(condition(live, "Failed"), "message") if is_true(live, "Failed") else ""
    return Finding(
        ref.short,
        failed or f"its job {job} has not completed",
        f"`kubectl logs -n {ref.namespace} job/{job}` says why; a job that failed for good is "
        f"started again by `kubectl delete -n {ref.namespace} job/{job}`",
    )


def _events_of(evidence: Evidence, begins: str) -> Iterator[str]:
    for event in evidence.events:
        about = text(event, "involvedObject", "name") == evidence.ref.name
        if about and text(event, "reason").startswith(begins):
            yield text(event, "message")


def _unexplained(evidence: Evidence, live: Json) -> Finding:
    ref = evidence.ref
    return Finding(
        ref.short,
        f"{readiness(live).detail}; nothing in its pods or events says more",
        f"give it more time (--timeout), and look: `kubectl describe {ref.kind.lower()} {ref.name}"
        + (f" -n {ref.namespace}`" if ref.namespace else "`"),
    )
