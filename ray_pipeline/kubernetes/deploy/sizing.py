"""
The pods, memory and CPU that the manifests request, and whether five servers can hold them.

The scheduler places a pod by its requests, not by its use. Requests are added up per pod as
Kubernetes does it, and the pods are then packed on the servers as the scheduler roughly does it.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from math import ceil

import yaml

from ray_pipeline.feeds.feed_registry import FEEDS
from ray_pipeline.kubernetes.deploy.objects import (
    Json,
    by_name,
    dig,
    elements,
    items,
    mapping,
    number,
    ref_of,
    text,
)
from ray_pipeline.settings.sections import RedisSettings
from ray_pipeline.stream.cache_memory import MEGABYTE, CacheNeed, cache_need

GIB = 2**30
MIB = 2**20
SERVER_CPU_M = 4_000
SERVER_BYTES = 8 * GIB
SERVERS = 5
CONTROL_PLANES = 3  # embedded etcd needs three; the other two servers are agents
# K3s' documentation on resources: a server with a workload 1.6 GB, an agent 275 MB.
CONTROL_PLANE_BYTES = 1_600_000_000
AGENT_BYTES = 275_000_000
SYSTEM_BYTES = 300_000_000
CONTROL_PLANE_CPU_M = 400
AGENT_CPU_M = 150
MAXMEMORY = re.compile(r"--maxmemory[ =]+(\d+)(kb|mb|gb|)\b")
MAXMEMORY_UNITS = {"": 1, "kb": 2**10, "mb": MIB, "gb": GIB}
# KubeRay adds this container to the head if autoscaling is on.
AUTOSCALER: Json = {"requests": {"cpu": "500m", "memory": "512Mi"}}
# The charts' own requests, if the values in the manifests set no resources.
CHARTS = {
    "kuberay-operator": ("100m", "512Mi"),
    "strimzi-kafka-operator": ("200m", "384Mi"),
}
SUFFIXES = {
    "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40,
    "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "m": 1e-3,
}  # fmt: skip
# Where workloads keep their pod, and when it runs.
POD_SPECS: dict[str, tuple[tuple[str, ...], str]] = {
    "Deployment": (("template", "spec"), "always"),
    "StatefulSet": (("template", "spec"), "always"),
    "DaemonSet": (("template", "spec"), "always"),
    "Job": (("template", "spec"), "upgrade"),
    "CronJob": (("jobTemplate", "spec", "template", "spec"), "run"),
}


@dataclass(frozen=True, slots=True)
class Need:
    """
    Equal pods of one object.

    Attributes:
        when: `always`; `upgrade`, for a few minutes of an apply; `run`, for the duration of a run.
    """

    name: str
    pods: int
    cpu_m: int  # of each pod, thousandths of a core
    memory_bytes: int  # of each pod
    when: str = "always"

    @property
    def all_cpu_m(self) -> int:
        """CPU of all pods together, thousandths of a core."""
        return self.pods * self.cpu_m

    @property
    def all_memory_bytes(self) -> int:
        """Memory of all pods together."""
        return self.pods * self.memory_bytes


@dataclass(frozen=True, slots=True)
class Server:
    """One server with the CPU and memory that pods can still request."""

    name: str
    cpu_m: int
    memory_bytes: int


@dataclass(frozen=True, slots=True)
class Fit:
    """
    The result of placing pods.

    Attributes:
        left: Each server with its remaining CPU and memory.
        unschedulable: Names of the pods for which no server has room.
    """

    left: tuple[Server, ...]
    unschedulable: tuple[str, ...]


def quantity(value: object) -> float:
    """Return a Kubernetes quantity as a number; 0 for an empty value."""
    written = str(value or 0)
    suffix = next((name for name in SUFFIXES if written.endswith(name)), "")
    return float(written.removesuffix(suffix)) * SUFFIXES.get(suffix, 1)


def servers() -> tuple[Server, ...]:
    """Return the five servers of 4 cores and 8 GB, without the shares of K3s and the system."""
    cpu_m, memory_bytes = SERVER_CPU_M, SERVER_BYTES - SYSTEM_BYTES
    return tuple(
        Server(
            f"server {n}", cpu_m - CONTROL_PLANE_CPU_M, memory_bytes - CONTROL_PLANE_BYTES
        )
        if n <= CONTROL_PLANES
        else Server(f"agent {n}", cpu_m - AGENT_CPU_M, memory_bytes - AGENT_BYTES)
        for n in range(1, SERVERS + 1)
    )  # fmt: skip


def maxmemory_bytes(objects: Iterable[Json]) -> int:
    """Return `maxmemory` of the manifests' Redis for latest values; 0 if they contain none."""
    redis = by_name(objects, "StatefulSet").get("redis", {})
    for container in items(redis, "spec", "template", "spec", "containers"):
        if match := MAXMEMORY.search(" ".join(map(str, elements(container, "args")))):
            return int(match[1]) * MAXMEMORY_UNITS[match[2]]
    return 0


def cache_need_of(objects: Iterable[Json], *, symbols: int) -> CacheNeed:
    """Return the memory of latest values in Redis, with the settings of the manifests."""
    settings = mapping(by_name(objects, "ConfigMap").get("pipeline-settings", {}), "data")
    redis = RedisSettings()
    budget_mb = text(settings, "PIPELINE_REDIS__BUDGET_MB") or redis.budget_mb
    keys = text(settings, "PIPELINE_REDIS__REALTIME_KEYS") or redis.realtime_keys
    return cache_need(
        symbols,
        ttl_s=max(feed.redis.ttl_s for feed in FEEDS),
        budget_bytes=int(budget_mb) * MEGABYTE,
        realtime_keys=int(keys),
    )


def needs(objects: Iterable[Json]) -> list[Need]:
    """Return the pods of every object, in the given order."""
    return [need for obj in objects for need in _needs(obj) if need.pods]


def fit(pods_needed: Sequence[Need], available: Sequence[Server]) -> Fit:
    """
    Place the largest pods first, each on the server with the most free memory.

    That approximates the scheduler and spreads equal pods. Affinity rules are ignored, so pods that
    fit here may still be unschedulable.
    """
    left = list(available)
    unschedulable: list[str] = []
    pods = [need for need in pods_needed for _ in range(need.pods)]
    # Small pods fit into what large ones leave; the other order would strand the large ones.
    for pod in sorted(pods, key=lambda need: (need.memory_bytes, need.cpu_m), reverse=True):
        candidates = [
            index
            for index, server in enumerate(left)
            if server.memory_bytes >= pod.memory_bytes and server.cpu_m >= pod.cpu_m
        ]
        if not candidates:
            unschedulable.append(pod.name)
            continue
        index = max(candidates, key=lambda candidate: left[candidate].memory_bytes)
        left[index] = replace(
            left[index],
            cpu_m=left[index].cpu_m - pod.cpu_m,
            memory_bytes=left[index].memory_bytes - pod.memory_bytes,
        )
    return Fit(tuple(left), tuple(unschedulable))


def _needs(obj: Json) -> Iterator[Need]:
    kind = ref_of(obj).kind
    name = ref_of(obj).short
    spec = mapping(obj, "spec")
    if kind in POD_SPECS:
        path, when = POD_SPECS[kind]
        pods = SERVERS if kind == "DaemonSet" else number(spec, "replicas", default=1)
        yield _pods(name, mapping(spec, *path), pods, when=when)
    elif kind == "RayCluster":
        yield from _ray(name, spec)
    elif kind == "RayService":
        cluster = list(_ray(name, mapping(spec, "rayClusterConfig")))
        yield from cluster
        # An upgrade runs two clusters: the new one must be healthy before the old one goes.
        yield from (replace(need, name=f"{need.name} (next)", when="upgrade") for need in cluster)
    elif kind == "RayJob":
        for need in _ray(name, mapping(spec, "rayClusterSpec")):
            yield replace(need, when="run")
    elif kind == "KafkaNodePool":
        yield _sum(name, number(spec, "replicas"), [mapping(spec, "resources")])
    elif kind == "Kafka":
        yield from _kafka(name, spec)
    elif kind == "HelmChart":
        yield _chart(name, spec)


def _ray(name: str, spec: Json) -> Iterator[Need]:
    extra = [AUTOSCALER] if spec.get("enableInTreeAutoscaling") is True else []
    if head := mapping(spec, "headGroupSpec", "template", "spec"):
        yield _pods(f"{name}, head", head, 1, extra=extra)
    for group in items(spec, "workerGroupSpecs"):
        template = mapping(group, "template", "spec")
        replicas = number(group, "replicas", default=1)
        yield _pods(f"{name}, {text(group, 'groupName')}", template, replicas)


def _kafka(name: str, spec: Json) -> Iterator[Need]:
    # The topic and user operators are containers of one pod. The other components have own pods.
    operators = [
        mapping(spec, "entityOperator", operator, "resources")
        for operator in ("topicOperator", "userOperator")
        if dig(spec, "entityOperator", operator) is not None
    ]
    if operators:
        yield _sum(f"{name}, entity operator", 1, operators)
    for component in ("kafkaExporter", "cruiseControl"):
        if dig(spec, component) is not None:
            yield _sum(f"{name}, {component}", 1, [mapping(spec, component, "resources")])


def _chart(name: str, spec: Json) -> Need:
    values = yaml.safe_load(text(spec, "valuesContent")) or mapping(spec, "values")
    cpu, memory = CHARTS.get(text(spec, "chart").rpartition("/")[2], ("0", "0"))
    default: Json = {"requests": {"cpu": cpu, "memory": memory}}
    resources = mapping(values, "resources") or default
    return _sum(name, number(values, "replicas", default=1), [resources])


def _pods(
    name: str, spec: Json, count: int, *, extra: Sequence[Json] = (), when: str = "always"
) -> Need:
    """
    Return the request of equal pods.

    Kubernetes takes the larger of two sums. While a pod runs, its containers and sidecars run
    together. Before, its init containers run one after the other, so the largest of them counts.
    """
    init = items(spec, "initContainers")
    sidecars = [container for container in init if container.get("restartPolicy") == "Always"]
    containers = [*items(spec, "containers"), *sidecars]
    running = _sum(name, count, [*(mapping(item, "resources") for item in containers), *extra])
    phases = [running, *(_sum(name, count, [mapping(item, "resources")]) for item in init)]
    return Need(
        name=name,
        pods=count,
        cpu_m=max(phase.cpu_m for phase in phases),
        memory_bytes=max(phase.memory_bytes for phase in phases),
        when=when,
    )


def _sum(name: str, count: int, resources: Sequence[Json]) -> Need:
    return Need(
        name=name,
        pods=count,
        cpu_m=ceil(sum(_request(item, "cpu") for item in resources) * 1000),
        memory_bytes=ceil(sum(_request(item, "memory") for item in resources)),
    )


def _request(resources: Json, resource: str) -> float:
    """Return the request; without a request, Kubernetes uses the limit."""
    return quantity(dig(resources, "requests", resource) or dig(resources, "limits", resource))
