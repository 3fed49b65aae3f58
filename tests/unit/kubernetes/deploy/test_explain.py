"""Why a rollout is stuck: every cause is named, with what to do about it."""

import pytest

from ray_pipeline.kubernetes.deploy.explain import Evidence, explain
from ray_pipeline.kubernetes.deploy.objects import Json, ref_of

POD_PENDING = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable"}


def an_object(
    kind: str, *, status: Json | None = None, seen: bool = True, **fields: object
) -> Json:
    told = ({"observedGeneration": 1} if seen else {}) | (status or {})
    metadata = {"name": "a", "namespace": "ns", "generation": 1}
    return {"apiVersion": "x/v1", "kind": kind, "metadata": metadata, "status": told} | fields


def a_pod(**status: object) -> Json:
    return an_object("Pod", status=status, metadata={"name": "a-head", "namespace": "ns"})


def waiting(reason: str, message: str = "", **more: object) -> Json:
    state = {"waiting": {"reason": reason, "message": message}}
    return a_pod(containerStatuses=[{"name": "c", "image": "app:1", "state": state} | more])


def unschedulable(message: str) -> Json:
    return a_pod(conditions=[POD_PENDING | {"message": message}])


def an_event(reason: str, message: str, *, kind: str = "Pod", name: str = "a-head") -> Json:
    about = {"kind": kind, "name": name}
    return {"reason": reason, "message": message, "involvedObject": about}


def told(
    live: Json | None, *, pods: list[Json] | None = None, events: list[Json] | None = None
) -> str:
    named = live or an_object("RayService")
    found = explain(Evidence(ref_of(named), live, pods or [], events or []))
    assert all(finding.fix for finding in found), "each finding says what to do"
    return "\n".join(map(str, found))


ENDED = {"terminated": {"exitCode": 1, "message": "no such table"}}
KILLED = {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}


@pytest.mark.parametrize(
    ("pod", "why", "fix"),
    [
        (waiting("ErrImagePull", "unauthorized"), "app:1 cannot be pulled", "imagePullSecrets"),
        (waiting("ImagePullBackOff"), "app:1 cannot be pulled", "k3s ctr images import"),
        (waiting("InvalidImageName"), "app:1 cannot be pulled", "correct its name"),
        (
            waiting("CreateContainerConfigError", 'secret "keys" not found'),
            'secret "keys" not found',
            "kubectl create secret generic keys -n ns",
        ),
        (
            waiting("CreateContainerConfigError", "couldn't find key dsn in Secret ns/db"),
            "couldn't find key dsn",
            "add the key dsn to it: `kubectl edit secret db -n ns`",
        ),
        (
            waiting("CrashLoopBackOff", restartCount=4, lastState=ENDED),
            "ends with code 1, 4 restarts: no such table",
            "kubectl logs a-head -c c -n ns --previous",
        ),
        (
            waiting("CrashLoopBackOff", restartCount=2, lastState=KILLED),
            "more memory than its limit",
            "raise its memory limit",
        ),
        (unschedulable("0/5 nodes: 5 Insufficient cpu."), "5 Insufficient cpu", "sizing"),
        (unschedulable("1 node(s) had untolerated taint"), "untolerated taint", "the taint"),
        (unschedulable("didn't match pod anti-affinity"), "anti-affinity", "less separation"),
        (
            unschedulable('persistentvolumeclaim "data" not found'),
            "persistentvolumeclaim",
            "kubectl get storageclass",
        ),
        (a_pod(reason="Evicted", message="low on memory"), "evicted: low on memory", "free memory"),
    ],
)
def test_a_pod_that_does_not_run_is_explained(pod: Json, why: str, fix: str) -> None:
    """In the kubelet's and the scheduler's words, then in ours."""
    text = told(an_object("RayCluster"), pods=[pod])

    assert why in text
    assert fix in text


@pytest.mark.parametrize(
    ("event", "why", "fix"),
    [
        (
            an_event("FailedMount", 'secret "tls" not found'),
            "cannot be mounted",
            "kubectl create secret generic tls -n",
        ),
        (an_event("Unhealthy", "Readiness probe failed: 503"), "503", "readiness probe"),
        (
            an_event("FailedCreate", "exceeded quota: q", kind="RayCluster", name="a"),
            "exceeded quota: q",
            "raise the ResourceQuota",
        ),
        (
            an_event("FailedCreate", 'violates PodSecurity "restricted"', kind="Job", name="a"),
            "violates PodSecurity",
            "securityContext",
        ),
    ],
)
def test_what_only_an_event_says_is_told(event: Json, why: str, fix: str) -> None:
    """The pod itself has no word of it."""
    text = told(an_object("RayCluster"), pods=[a_pod(phase="Pending")], events=[event])

    assert why in text
    assert fix in text


def test_pods_that_fail_alike_are_told_once() -> None:
    """Ten workers that cannot pull one image are one cause."""
    pods = [waiting("ErrImagePull") | {"metadata": {"name": f"w{n}"}} for n in range(10)]

    found = explain(Evidence(ref_of(an_object("RayCluster")), an_object("RayCluster"), pods))

    assert [finding.what for finding in found] == ["pod w0, container c and 9 more"]


def test_a_pod_that_runs_needs_no_explanation() -> None:
    """A probe that failed once in the past is not the cause."""
    pod = a_pod(conditions=[{"type": "Ready", "status": "True"}])

    text = told(an_object("RayCluster"), pods=[pod], events=[an_event("Unhealthy", "slow")])

    assert "slow" not in text


def test_a_container_that_came_back_needs_no_explanation() -> None:
    """It crashed once, while its database was away."""
    status = {"name": "c", "ready": True, "state": {"running": {}}, "lastState": ENDED}

    text = told(an_object("RayCluster"), pods=[a_pod(containerStatuses=[status])])

    assert "no such table" not in text


def service(status: str, message: str, *, which: str = "pendingServiceStatus") -> Json:
    application = {"status": status, "message": message}
    told = {"rayClusterName": "a-2", "applicationStatuses": {"supervisor": application}}
    return an_object("RayService", status={which: told})


@pytest.mark.parametrize(
    ("live", "why", "fix"),
    [
        (None, "not in the cluster", "apply again"),
        (service("DEPLOY_FAILED", "ImportError: x"), "ImportError: x", "deploy rollback"),
        (service("UNHEALTHY", "no data"), "calls itself unhealthy: no data", "/why"),
        (service("DEPLOYING", ""), "waits for its replicas", "ray status"),
        (an_object("RayService", seen=False), "kuberay-operator does not run", "kubectl get pods"),
        (an_object("Kafka", seen=False), "strimzi-cluster-operator does not run", "operator"),
        (
            an_object("RayCluster", status={"conditions": [
                {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreateHeadPod",
                 "message": "quota"}]}),
            "FailedCreateHeadPod: quota",
            "correct",
        ),
        (
            an_object("Kafka", status={"conditions": [
                {"type": "NotReady", "status": "True", "reason": "InvalidResourceException",
                 "message": "No KafkaNodePools found"}]}),
            "No KafkaNodePools found",
            "strimzi.io/cluster",
        ),
        (
            an_object("Job", status={"conditions": [
                {"type": "Failed", "status": "True", "reason": "DeadlineExceeded",
                 "message": "too long"}]}),
            "DeadlineExceeded: too long",
            "kubectl logs job/a -n ns",
        ),
        (
            an_object("KafkaTopic", metadata={
                "name": "a", "namespace": "ns", "deletionTimestamp": "now",
                "finalizers": ["strimzi.io/topic-operator"]}),
            "waits for strimzi.io/topic-operator",
            "must run",
        ),
        (an_object("Deployment"), "0 of 1 replicas ready", "kubectl describe deployment a -n ns"),
    ],
)  # fmt: skip
def test_an_object_that_is_not_ready_is_explained(live: Json | None, why: str, fix: str) -> None:
    """By what its operator wrote on it, or by its silence."""
    text = told(live)

    assert why in text
    assert fix in text
