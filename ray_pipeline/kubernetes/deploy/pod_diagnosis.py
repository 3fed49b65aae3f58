"""
Why a pod does not run, with a fix for each cause.

A pod's own status is the best source: first eviction and scheduling, then the containers. Events
come last, because they also tell of problems that are over.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ray_pipeline.kubernetes.deploy.objects import (
    Json,
    condition,
    items,
    mapping,
    name_of,
    namespace_of,
    number,
    text,
)

MISSING_KEY = re.compile(r"couldn't find key (\S+) in (Secret|ConfigMap) (\S+)")
MISSING = re.compile(r"(secret|configmap|serviceaccount)s? \"?([\w./-]+?)\"? not found")
PULL_REASONS = frozenset("ImagePullBackOff ErrImagePull ErrImageNeverPull InvalidImageName".split())
# Fixes by a word of the scheduler's message. The first match counts.
SCHEDULING_FIXES = (
    (
        "insufficient",
        "the servers have not enough left: lower the requests, choose the lite profile, or add a "
        "server; `ray-pipeline deploy sizing` adds everything up",
    ),
    ("taint", "remove the taint from a node, or let the pod tolerate it"),
    ("affinity|selector|topology", "label a node as the pod asks, or ask for less separation"),
    (
        "volume",
        "`kubectl get storageclass` must show the class that the claim names (on K3s: local-path), "
        "and a local volume's node must be up",
    ),
    ("", "`kubectl describe pod` and `kubectl get nodes` show details"),
)
# What events report of a pod, by the event's reason: the cause, and a fix; without a fix, the
# message names what is missing.
EVENTS = {
    "FailedMount": ("a volume cannot be mounted", ""),
    "FailedAttachVolume": ("a volume cannot be mounted", ""),
    "Unhealthy": ("runs but is not ready", "its readiness probe fails: its logs show the reason"),
    "FailedCreatePodSandBox": (
        "the node cannot start it",
        "look at the node: `kubectl describe node`, and K3s' log there",
    ),
}


@dataclass(frozen=True, slots=True, order=True)
class Diagnosis:
    """
    One reason why something is not ready, and its fix.

    Attributes:
        what: The object, the pod or the container concerned.
    """

    what: str
    why: str
    fix: str

    def __str__(self) -> str:
        return f"{self.what}: {self.why}\n  fix: {self.fix}"


def diagnose_pods(pods: Sequence[Json], events: Sequence[Json]) -> list[Diagnosis]:
    """Return why these pods do not run; pods with the same problem share one diagnosis."""
    subjects: dict[tuple[str, str], list[str]] = {}
    for pod in pods:
        about_pod = [
            event
            for event in events
            if text(event, "involvedObject", "kind") == "Pod"
            and text(event, "involvedObject", "name") == name_of(pod)
        ]
        for diagnosis in _diagnose(pod, about_pod):
            subjects.setdefault((diagnosis.why, diagnosis.fix), []).append(diagnosis.what)
    return [Diagnosis(_summary(names), why, fix) for (why, fix), names in subjects.items()]


def diagnose_creation(events: Sequence[Json]) -> list[Diagnosis]:
    """Return why pods were never created, from the events of their owners."""
    messages: dict[tuple[str, str], str] = {}
    for event in events:
        message = text(event, "message")
        if text(event, "reason").startswith("Failed") and (fix := _creation_fix(message)):
            owner = mapping(event, "involvedObject")
            messages[f"{text(owner, 'kind')} {text(owner, 'name')}", fix] = message
    return [Diagnosis(owner, why, fix) for (owner, fix), why in messages.items()]


def create_fix(kind: str, name: str, namespace: str) -> str:
    """Return the command that creates a Secret, ConfigMap or ServiceAccount."""
    resource = "secret generic" if kind == "secret" else kind
    literal = " --from-literal=KEY=VALUE" if kind != "serviceaccount" else ""
    return (
        f"`kubectl create {resource} {name} -n {namespace}{literal}`; its pods follow by themselves"
    )


def _summary(names: Sequence[str]) -> str:
    unique = list(dict.fromkeys(names))
    return unique[0] if len(unique) == 1 else f"{unique[0]} and {len(unique) - 1} more"


def _diagnose(pod: Json, events: Sequence[Json]) -> Iterator[Diagnosis]:
    subject = f"pod {name_of(pod)}"
    if text(pod, "status", "reason") == "Evicted":
        fix = "free memory or disk on that server, or lower the requests of the pods there"
        yield Diagnosis(subject, f"evicted: {text(pod, 'status', 'message')}", fix)
        return
    scheduled = condition(pod, "PodScheduled")
    if scheduled.get("status") == "False":
        why = text(scheduled, "message") or text(scheduled, "reason")
        fix = next(fix for words, fix in SCHEDULING_FIXES if re.search(words, why, re.IGNORECASE))
        yield Diagnosis(subject, f"no node takes it: {why}", fix)
        return
    diagnoses = [
        diagnosis
        for group in ("initContainerStatuses", "containerStatuses")
        for status in items(pod, "status", group)
        if (diagnosis := _of_container(status, pod))
    ]
    yield from diagnoses
    if not diagnoses and not _runs(pod):
        yield from _of_events(subject, events, namespace_of(pod))


def _runs(pod: Json) -> bool:
    succeeded = text(pod, "status", "phase") == "Succeeded"
    return succeeded or condition(pod, "Ready").get("status") == "True"


def _of_container(status: Json, pod: Json) -> Diagnosis | None:
    if status.get("ready") is True:
        return None  # earlier crashes are over
    subject = f"pod {name_of(pod)}, container {text(status, 'name')}"
    waiting = mapping(status, "state", "waiting")
    reason, message = text(waiting, "reason"), text(waiting, "message")
    if reason in PULL_REASONS:
        image = text(status, "image")
        return Diagnosis(
            subject,
            f"image {image} cannot be pulled: {message or reason}",
            "push the image, or correct its name; a private registry needs imagePullSecrets; "
            f"without a registry import it on every server: `k3s ctr images import` ({image})",
        )
    if reason == "CreateContainerConfigError":
        return Diagnosis(subject, message, _missing_fix(message, namespace_of(pod)))
    if reason in {"RunContainerError", "CreateContainerError"}:
        return Diagnosis(subject, message or reason, "correct the container's command or mounts")
    ended = mapping(status, "lastState", "terminated") or mapping(status, "state", "terminated")
    if reason == "CrashLoopBackOff" or number(ended, "exitCode"):
        return _crash(status, ended, subject, pod)
    return None


def _crash(status: Json, ended: Json, subject: str, pod: Json) -> Diagnosis:
    restarts = number(status, "restartCount")
    if text(ended, "reason") == "OOMKilled":
        return Diagnosis(
            subject,
            f"killed for using more memory than its limit, {restarts} times",
            "raise its memory limit; `ray-pipeline deploy sizing` shows the servers' free memory",
        )
    message = text(ended, "message").strip()
    return Diagnosis(
        subject,
        f"ends with code {number(ended, 'exitCode')}, {restarts} restarts"
        + (f": {message}" if message else ""),
        f"`kubectl logs {name_of(pod)} -c {text(status, 'name')} -n {namespace_of(pod)}"
        f"{' --previous' if restarts else ''}` shows the reason",
    )


def _of_events(subject: str, events: Sequence[Json], namespace: str) -> Iterator[Diagnosis]:
    for event in events:
        if text(event, "reason") in EVENTS:
            cause, fix = EVENTS[text(event, "reason")]
            message = text(event, "message")
            yield Diagnosis(subject, f"{cause}: {message}", fix or _missing_fix(message, namespace))


def _missing_fix(message: str, namespace: str) -> str:
    """Return the fix for a Secret or ConfigMap that does not exist, or that lacks a key."""
    if key := MISSING_KEY.search(message):
        kind, name = key[2].lower(), key[3].rpartition("/")[2]
        return f"add the key {key[1]} to it: `kubectl edit {kind} {name} -n {namespace}`"
    if missing := MISSING.search(message):
        return create_fix(missing[1], missing[2].rpartition("/")[2], namespace)
    return "create the object that the message names, or correct its name in the manifest"


def _creation_fix(message: str) -> str:
    if "exceeded quota" in message:
        return "raise the ResourceQuota (`kubectl get resourcequota`), or lower the requests"
    if "violates PodSecurity" in message:
        return "label the namespace pod-security.kubernetes.io/enforce, or tighten securityContext"
    if missing := MISSING.search(message):
        return create_fix(missing[1], missing[2].rpartition("/")[2], "NAMESPACE")
    if "forbidden" in message:
        return "a rule of the cluster forbids the pod; the message names it"
    return ""
