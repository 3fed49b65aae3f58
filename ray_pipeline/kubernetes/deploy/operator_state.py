"""
Whether KubeRay has acted on the present spec of an object, although its status does not say so.

KubeRay writes `observedGeneration` only together with another change of the status. After a change
of the spec that needs no action, such as another number of replicas of a RayService, the old number
remains. The status is current all the same if the operator runs and had the time to react:
a change of a spec wakes it at once, and it looks at each RayService every two seconds. Pure.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from ray_pipeline.kubernetes.deploy.objects import (
    Json,
    condition,
    dig,
    is_true,
    items,
    mapping,
    pod_templates,
    text,
)

OPERATOR_PODS = "app.kubernetes.io/name=kuberay-operator"  # the chart's label
REACTION = timedelta(seconds=10)
LONG_AGO = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Operator:
    """
    The running KubeRay operator.

    Attributes:
        running_since: When it became ready; None if it does not run. `LONG_AGO` if the user may not
            read its pods.
        now: The server's time at which this was read.
    """

    running_since: datetime | None
    now: datetime

    def has_acted(self, live: Json) -> bool:
        """Say whether it had the time to react to the newest change of the object's spec."""
        if self.running_since is None:
            return False
        return self.now - max(self.running_since, changed_at(live)) >= REACTION


def running_since(pods: Iterable[Json]) -> datetime | None:
    """Return since when one of the operator's pods is ready; None if none is."""
    ready = [pod for pod in pods if is_true(pod, "Ready") and not is_ending(pod)]
    times = [moment(condition(pod, "Ready"), "lastTransitionTime") for pod in ready]
    return min(times, default=None)


def is_ending(pod: Json) -> bool:
    """Say whether the pod is being deleted."""
    return bool(text(pod, "metadata", "deletionTimestamp"))


def changed_at(live: Json) -> datetime:
    """Return when the object's spec was changed last."""
    times = [
        moment(entry, "time")
        for entry in items(live, "metadata", "managedFields")
        if not text(entry, "subresource") and dig(entry, "fieldsV1", "f:spec") is not None
    ]
    return max(times, default=LONG_AGO)


def moment(value: object, *path: str) -> datetime:
    """Return the time at the path; `LONG_AGO` if the path does not exist."""
    written = text(value, *path)
    return datetime.fromisoformat(written) if written else LONG_AGO


def outdated_pods(cluster: Json, pods: Sequence[Json]) -> list[Json]:
    """
    Return the pods of a RayCluster that run an earlier spec: another image or other variables.

    Only these two are compared, because KubeRay and admission webhooks change other fields. A pod
    younger than the spec cannot be outdated, so a webhook that replaces images does no harm.
    """
    groups = {
        text(group, "groupName"): mapping(group, "template")
        for group in items(cluster, "spec", "workerGroupSpecs")
    }
    head = mapping(cluster, "spec", "headGroupSpec", "template")
    changed = changed_at(cluster)

    def is_outdated(pod: Json) -> bool:
        labels = mapping(pod, "metadata", "labels")
        is_head = labels.get("ray.io/node-type") == "head"
        template = head if is_head else groups.get(text(labels, "ray.io/group"), {})
        is_older = moment(pod, "metadata", "creationTimestamp") < changed
        return is_older and not runs(pod, template)

    return [pod for pod in pods if is_outdated(pod)]


def runs(pod: Json, template: Json) -> bool:
    """Say whether the pod's containers have the images and variables of the template."""
    containers = {text(item, "name"): item for item in items(pod, "spec", "containers")}
    return all(
        _as_in(containers.get(text(container, "name"), {}), container)
        for container in items(template, "spec", "containers")
    )


def same_containers(cluster: Json, service: Json) -> bool:
    """Say whether a RayCluster has the images and variables that its RayService names now."""
    current = list(pod_templates(mapping(cluster, "spec")))
    desired = list(pod_templates(mapping(service, "spec", "rayClusterConfig")))
    pairs = zip(current, desired, strict=False)
    return len(current) >= len(desired) and all(runs(pod, template) for pod, template in pairs)


def _as_in(container: Json, template: Json) -> bool:
    variables = items(container, "env")
    return text(container, "image") == text(template, "image") and all(
        any(_contains(variable, expected) for variable in variables)
        for expected in items(template, "env")
    )


def _contains(value: object, part: object) -> bool:
    """Say whether a value has all fields of `part`; the server adds defaults to a variable."""
    if isinstance(part, dict):
        return isinstance(value, dict) and all(
            _contains(value.get(name), child) for name, child in part.items()
        )
    return value == part
