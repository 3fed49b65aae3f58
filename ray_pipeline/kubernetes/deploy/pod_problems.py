"""Why a pod does not run, in words, each with what to do."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ray_pipeline.kubernetes.deploy.objects import Json, condition, items, mapping, number, text

OUT_OF_MEMORY = "OOMKilled"
PULLING = frozenset({"ImagePullBackOff", "ErrImagePull", "ErrImageNeverPull"})
MISSING_KEY = re.compile(r"couldn't find key (\S+) in (Secret|ConfigMap) (\S+)")
MISSING = re.compile(r"(secret|configmap|serviceaccount)s? \"?([\w./-]+?)\"? not found")
OWNERS = frozenset({"FailedCreate", "FailedToCreateHeadPod", "FailedToCreateWorkerPod"})


@dataclass(frozen=True, slots=True, order=True)
class Finding:
    """One reason why something is not ready, and what a person does about it."""

    what: str
    why: str
    fix: str

    def __str__(self) -> str:
        return f"{self.what}: {self.why}\n  fix: {self.fix}"


def judge_pods(pods: Sequence[Json], events: Sequence[Json]) -> list[Finding]:
    """Return why these pods do not run; pods that fail alike give one finding."""
    found: dict[tuple[str, str], list[str]] = {}
    for pod in pods:
        name = text(pod, "metadata", "name")
        for finding in _judge(pod, [event for event in events if _about(event, "Pod", name)]):
            found.setdefault((finding.why, finding.fix), []).append(finding.what)
    return [Finding(_several(whats), why, fix) for (why, fix), whats in found.items()]


def judge_creation(events: Sequence[Json]) -> list[Finding]:
    """Return why pods were not even created: told by events of what should have made them."""
    found: dict[tuple[str, str], str] = {}
    for event in events:
        if not text(event, "reason").startswith("Failed"):
            continue
        message = text(event, "message")
        if fix := _creation_fix(message):
            owner = f"{text(event, 'involvedObject', 'kind')} {_owner(event)}"
            found[owner, fix] = message
    return [Finding(owner, why, fix) for (owner, fix), why in found.items()]


def _owner(event: Json) -> str:
    return text(event, "involvedObject", "name")


def _about(event: Json, kind: str, name: str) -> bool:
    return text(event, "involvedObject", "kind") == kind and _owner(event) == name


def _several(names: Sequence[str]) -> str:
    unique = list(dict.fromkeys(names))
    return unique[0] if len(unique) == 1 else f"{unique[0]} and {len(unique) - 1} more"


def _judge(pod: Json, events: Sequence[Json]) -> Iterator[Finding]:
    what = f"pod {text(pod, 'metadata', 'name')}"
    if text(pod, "status", "reason") == "Evicted":
        yield Finding(what, f"evicted: {text(pod, 'status', 'message')}", _PRESSURE)
        return
    placed = condition(pod, "PodScheduled")
    if placed.get("status") == "False":
        why = text(placed, "message") or text(placed, "reason")
        yield Finding(what, f"no node takes it: {why}", _placing_fix(why))
        return
    found = list(_of_containers(pod, what))
    yield from found
    if not found and not _runs(pod):
        yield from _of_events(what, events)


def _runs(pod: Json) -> bool:
    done = text(pod, "status", "phase") == "Succeeded"
    return done or condition(pod, "Ready").get("status") == "True"


def _of_containers(pod: Json, what: str) -> Iterator[Finding]:
    for group in ("initContainerStatuses", "containerStatuses"):
        for status in items(pod, "status", group):
            where = f"{what}, container {text(status, 'name')}"
            if finding := _of_container(status, where, pod):
                yield finding


def _of_container(status: Json, where: str, pod: Json) -> Finding | None:
    if status.get("ready") is True:
        return None  # whatever happened before
    waiting = mapping(status, "state", "waiting")
    reason, message = text(waiting, "reason"), text(waiting, "message")
    if reason in PULLING or reason == "InvalidImageName":
        image = text(status, "image")
        return Finding(
            where, f"image {image} cannot be pulled: {message or reason}", _pull_fix(image)
        )
    if reason == "CreateContainerConfigError":
        return Finding(where, message, missing_fix(message, pod))
    if reason in {"RunContainerError", "CreateContainerError"}:
        return Finding(where, message or reason, "correct the container's command or mounts")
    ended = mapping(status, "lastState", "terminated") or mapping(status, "state", "terminated")
    if reason == "CrashLoopBackOff" or number(ended, "exitCode"):
        return _crashed(status, ended, where, pod)
    return None


def _crashed(status: Json, ended: Json, where: str, pod: Json) -> Finding:
    times = number(status, "restartCount")
    logs = (
        f"`kubectl logs {text(pod, 'metadata', 'name')} -c {text(status, 'name')} "
        f"-n {text(pod, 'metadata', 'namespace')}{' --previous' if times else ''}` says why"
    )
    if text(ended, "reason") == OUT_OF_MEMORY:
        return Finding(
            where,
            f"killed for using more memory than its limit, {times} times",
            "raise its memory limit; `ray-pipeline deploy sizing` tells what the servers have left",
        )
    said = f": {text(ended, 'message').strip()}" if text(ended, "message") else ""
    return Finding(
        where, f"ends with code {number(ended, 'exitCode')}, {times} restarts{said}", logs
    )


def _of_events(what: str, events: Sequence[Json]) -> Iterator[Finding]:
    for event in events:
        reason, message = text(event, "reason"), text(event, "message")
        if reason in {"FailedMount", "FailedAttachVolume"}:
            yield Finding(
                what, f"a volume cannot be mounted: {message}", missing_fix(message, event)
            )
        elif reason == "Unhealthy":
            yield Finding(what, f"runs but is not ready: {message}", _PROBE)
        elif reason == "FailedCreatePodSandBox":
            yield Finding(what, f"the node cannot start it: {message}", _NODE)


def missing_fix(message: str, near: Json) -> str:
    """Return what to do about a Secret or ConfigMap that is not there, or lacks a key."""
    namespace = text(near, "metadata", "namespace")
    if key := MISSING_KEY.search(message):
        kind, name = key[2].lower(), key[3].rpartition("/")[2]
        return f"add the key {key[1]} to it: `kubectl edit {kind} {name} -n {namespace}`"
    if gone := MISSING.search(message):
        kind, name = gone[1], gone[2].rpartition("/")[2]
        return create_fix(kind, name, namespace)
    return "make what the message names, or correct the name in the manifest"


def create_fix(kind: str, name: str, namespace: str) -> str:
    """Return the command that makes a Secret or the like."""
    what = "secret generic" if kind == "secret" else kind
    literal = " --from-literal=KEY=VALUE" if kind != "serviceaccount" else ""
    return f"`kubectl create {what} {name} -n {namespace}{literal}`; its pods follow by themselves"


def _placing_fix(message: str) -> str:
    if "Insufficient" in message:
        return (
            "the servers have not enough left: lower the requests, choose the lite profile, or add "
            "a server; `ray-pipeline deploy sizing` adds everything up"
        )
    if "taint" in message:
        return "remove the taint from a node, or let the pod tolerate it"
    if "affinity" in message or "selector" in message or "topology" in message:
        return "label a node as the pod asks, or ask for less separation"
    if "persistentvolumeclaim" in message.lower() or "volume" in message:
        return (
            "`kubectl get storageclass` must show the class that the claim names (on K3s: "
            "local-path), and a local volume's node must be up"
        )
    return "`kubectl describe pod` and `kubectl get nodes` tell more"


def _pull_fix(image: str) -> str:
    return (
        f"push the image, or correct its name; a private registry needs imagePullSecrets; without "
        f"a registry import it on every server: `k3s ctr images import` ({image})"
    )


def _creation_fix(message: str) -> str:
    if "exceeded quota" in message:
        return "raise the ResourceQuota (`kubectl get resourcequota`), or ask for less"
    if "violates PodSecurity" in message:
        return "label the namespace pod-security.kubernetes.io/enforce, or tighten securityContext"
    if gone := MISSING.search(message):
        return create_fix(gone[1], gone[2].rpartition("/")[2], "NAMESPACE")
    if "forbidden" in message:
        return "a rule of the cluster forbids the pod; the message names it"
    return ""


_PRESSURE = "free memory or disk on that server, or lower what the pods there ask for"
_PROBE = "its readiness probe fails: its logs say what it waits for"
_NODE = "look at the node: `kubectl describe node`, and K3s' log there"
