"""Where objects belong, which pods may be evicted, and which objects must stay."""

from collections.abc import Iterator, Sequence

from ray_pipeline.kubernetes.deploy.objects import (
    Json,
    by_name,
    dig,
    items,
    kind_of,
    mapping,
    name_of,
    namespace_of,
    number,
    of_kind,
    selects,
    text,
)
from ray_pipeline.kubernetes.manifests.lint_finding import LintFinding, fault
from ray_pipeline.kubernetes.manifests.pod_templates import Template, cluster_spec, templates

# K3s' Helm controller serves this namespace. In another one, the network policies and the pod
# security of that namespace apply to the jobs that install the charts.
CHARTS_NAMESPACE = "kube-system"
# Controllers with the subresource `scale`, of which the disruption controller asks how many pods
# there should be. Custom resources such as RayCluster have none.
WITH_SCALE = frozenset({"Deployment", "StatefulSet", "ReplicaSet", "ReplicationController"})
RUNS_TO_AN_END = frozenset({"Job", "CronJob", "RayJob"})


def of_scheduling(objects: Sequence[Json]) -> Iterator[LintFinding]:
    """Yield faults of namespaces of charts, disruption budgets, priorities and Jobs."""
    for chart in of_kind(objects, "HelmChart"):
        if namespace_of(chart) != CHARTS_NAMESPACE:
            yield fault(
                "chart-namespace", chart, f"in the namespace {namespace_of(chart)!r}",
                fix=f"put it into {CHARTS_NAMESPACE}. `namespace:` in a kustomization overrides "
                "the namespace of every object: use a NamespaceTransformer with unsetOnly",
            )  # fmt: skip
    for budget in of_kind(objects, "PodDisruptionBudget"):
        yield from _budget(budget, objects)
    yield from _priorities(objects)
    for job in of_kind(objects, "Job"):
        if dig(job, "spec", "ttlSecondsAfterFinished") is not None:
            yield fault(
                "job-vanishes", job, "ttlSecondsAfterFinished deletes it after it has ended",
                fix="leave it out: `status` would report a missing object, and `plan` a change",
            )  # fmt: skip


def _budget(budget: Json, objects: Sequence[Json]) -> Iterator[LintFinding]:
    """Yield a fault if the budget allows no eviction, so that no server can be drained."""
    selector = mapping(budget, "spec", "selector", "matchLabels")
    selected = [item for item in templates(objects) if selects(selector, item.labels)]
    if not selected:
        return  # the rules of references report it
    least = dig(budget, "spec", "minAvailable")
    if not all(kind_of(item.owner) in WITH_SCALE for item in selected) and not _whole(least):
        yield fault(
            "budget-scale", budget,
            "maxUnavailable and percentages need the number of pods that should run, and the "
            "controller of these pods does not report one: no eviction would be allowed",
            fix="use minAvailable with a number of pods",
        )  # fmt: skip
    elif _whole(least) and number(budget, "spec", "minAvailable") >= (
        pods := sum(_pods(item) for item in selected)
    ):
        yield fault(
            "budget-drain", budget,
            f"minAvailable is {least} of {pods} pods: no eviction would be allowed",
            fix="lower minAvailable, or leave the budget out if there is one pod",
        )  # fmt: skip


def _whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _pods(template: Template) -> int:
    """Return how many pods the template stands for."""
    for group in items(cluster_spec(template.owner), "workerGroupSpecs"):
        if text(group, "groupName") == template.name:
            return number(group, "replicas", default=1)
    if kind_of(template.owner) in WITH_SCALE:
        return number(template.owner, "spec", "replicas", default=1)
    return 1


def _priorities(objects: Sequence[Json]) -> Iterator[LintFinding]:
    """Yield priorities of runs that may push out another pod; a run can wait instead."""
    classes = by_name(objects, "PriorityClass")
    names = {
        text(template.spec, "priorityClassName")
        for template in templates(objects)
        if kind_of(template.owner) in RUNS_TO_AN_END
    }
    for name in sorted(names & classes.keys()):
        if text(classes[name], "preemptionPolicy") != "Never":
            yield fault(
                "priority-preempts", classes[name],
                "pods of this priority evict pods without one, such as those of an operator",
                fix="set preemptionPolicy: Never: a run waits for room",
            )  # fmt: skip
    for chart in of_kind(objects, "HelmChart"):
        if "priorityClassName:" not in text(chart, "spec", "valuesContent"):
            yield fault(
                "priority-operator", chart, f"the operator {name_of(chart)} has no priority",
                fix="set priorityClassName in valuesContent: every pod with one evicts it",
            )  # fmt: skip
