"""Rules that bound how long collecting pauses when a pod of Ray, or the Redis of the head, ends."""

import re
from collections.abc import Iterator, Sequence

from ray_pipeline.kubernetes.deploy.objects import (
    Json,
    by_name,
    dig,
    elements,
    items,
    kind_of,
    mapping,
    name_of,
    text,
)
from ray_pipeline.kubernetes.manifests.lint_finding import LintFinding, fault
from ray_pipeline.kubernetes.manifests.pod_templates import cluster_spec

STREAMING = frozenset({"RayCluster", "RayService"})
DRAIN_COMMAND = ["ray-pipeline", "drain-node"]
# It added authOptions.secretName and RayCluster.upgradeStrategy, which the manifests use.
OLDEST_KUBERAY = (1, 6)


def of_availability(objects: Sequence[Json]) -> Iterator[LintFinding]:
    """Yield what makes a restart of a pod longer than it must be, or impossible."""
    for obj in objects:
        if kind_of(obj) in STREAMING:
            yield from _workers(obj)
            yield from _address(obj, objects)
        if kind_of(obj) == "HelmChart" and text(obj, "spec", "chart") == "kuberay-operator":
            yield from _operator(obj)


def _workers(obj: Json) -> Iterator[LintFinding]:
    for index, group in enumerate(items(cluster_spec(obj), "workerGroupSpecs")):
        container = next(iter(items(group, "template", "spec", "containers")), {})
        command = elements(mapping(container, "lifecycle", "preStop", "exec"), "command")
        if [str(part) for part in command[:2]] != DRAIN_COMMAND:
            yield fault(
                "ray-drain", obj, f"workerGroupSpecs.{index} has no preStop hook drain-node",
                fix="add it: without it, feeds pause until Ray notices that the node is gone",
            )  # fmt: skip


def _address(obj: Json, objects: Sequence[Json]) -> Iterator[LintFinding]:
    address = text(cluster_spec(obj), "gcsFaultToleranceOptions", "redisAddress")
    host = address.rpartition("//")[2].partition(":")[0].partition(".")[0]
    service = by_name(objects, "Service").get(host, {})
    if dig(service, "spec", "clusterIP") == "None":
        yield fault(
            "ray-redis-headless", obj, f"redisAddress: the Service {name_of(service)} is headless",
            fix="use a Service with an address: a headless one has none while its pod moves, and a "
            "head that starts then crashes instead of waiting",
        )  # fmt: skip


def _operator(obj: Json) -> Iterator[LintFinding]:
    version = text(obj, "spec", "version")
    numbers = tuple(int(part) for part in re.findall(r"\d+", version)[:2])
    if numbers and numbers < OLDEST_KUBERAY:
        yield fault(
            "kuberay-version", obj, f"KubeRay {version} does not know every field of the manifests",
            fix=f"{'.'.join(map(str, OLDEST_KUBERAY))} or newer; docs/kubernetes.md lists versions",
        )  # fmt: skip
