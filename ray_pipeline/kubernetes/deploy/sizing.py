"""What the manifests ask of the servers: pods, memory and CPU, and whether five servers have it."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from math import ceil

import yaml

from ray_pipeline.kubernetes.deploy.objects import Json, dig, items, mapping, number, ref_of, text

GIB = 2**30
MIB = 2**20
SERVER_CPU_M = 4_000
SERVER_BYTES = 8 * GIB
SERVERS = 5
CONTROL_PLANES = 3  # embedded etcd wants three; the other two servers are agents
# K3s' own page on resources: a server with a workload 1.6 GB, an agent 275 MB. Then the system.
CONTROL_PLANE_BYTES = 1_600_000_000
AGENT_BYTES = 275_000_000
SYSTEM_BYTES = 300_000_000
CONTROL_PLANE_CPU_M = 400
AGENT_CPU_M = 150
# The autoscaler's container, and what the charts ask for where their values do not say.
AUTOSCALER: Json = {"requests": {"cpu": "500m", "memory": "512Mi"}}
CHARTS = {
    "kuberay-operator": ("100m", "512Mi"),
    "strimzi-kafka-operator": ("200m", "384Mi"),
}
SUFFIXES = {
    "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40,
    "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "m": 1e-3,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Need:
    """
    Pods of one kind.

    Attributes:
        when: `always`; `upgrade`, for a few minutes of a release; `run`, for as long as a run.
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
    """One server: what pods may ask for, and what is left of it."""

    name: str
    cpu_m: int
    memory_bytes: int


@dataclass(frozen=True, slots=True)
class Fit:
    """
    How pods are placed.

    Attributes:
        left: Each server with what is left.
        homeless: Names of pods that no server has room for.
    """

    left: tuple[Server, ...]
    homeless: tuple[str, ...]


def quantity(value: object) -> float:
    """Return a Kubernetes quantity as a number; 0 for none."""
    shown = str(value or 0)
    suffix = next((one for one in SUFFIXES if shown.endswith(one)), "")
    return float(shown.removesuffix(suffix)) * SUFFIXES.get(suffix, 1)


def servers() -> tuple[Server, ...]:
    """Return the five servers of 4 cores and 8 GB, less what K3s and the system take."""
    return tuple(_server(place) for place in range(SERVERS))


def _server(place: int) -> Server:
    leads = place < CONTROL_PLANES
    taken_bytes = SYSTEM_BYTES + (CONTROL_PLANE_BYTES if leads else AGENT_BYTES)
    taken_m = CONTROL_PLANE_CPU_M if leads else AGENT_CPU_M
    name = f"{'server' if leads else 'agent'} {place + 1}"
    return Server(name, SERVER_CPU_M - taken_m, SERVER_BYTES - taken_bytes)


def needs(objects: Iterable[Json]) -> list[Need]:
    """Return what every object asks for, object by object."""
    return [need for obj in objects for need in _needs(obj) if need.pods]


def fit(wanted: Sequence[Need], available: Sequence[Server]) -> Fit:
    """
    Place the pods: the largest first, each on the server with the most memory left.

    That is about what the scheduler does, and spreads pods of one kind; rules of affinity are not
    looked at.
    """
    left = list(available)
    homeless: list[str] = []
    pods = [need for need in wanted for _ in range(need.pods)]
    for pod in sorted(pods, key=lambda one: (one.memory_bytes, one.cpu_m), reverse=True):
        roomy = [
            place
            for place, server in enumerate(left)
            if server.memory_bytes >= pod.memory_bytes and server.cpu_m >= pod.cpu_m
        ]
        if not roomy:
            homeless.append(pod.name)
            continue
        place = max(roomy, key=lambda one: left[one].memory_bytes)
        left[place] = replace(
            left[place],
            cpu_m=left[place].cpu_m - pod.cpu_m,
            memory_bytes=left[place].memory_bytes - pod.memory_bytes,
        )
    return Fit(tuple(left), tuple(homeless))


def _needs(obj: Json) -> Iterator[Need]:
    kind = ref_of(obj).kind
    name = f"{kind} {ref_of(obj).name}"
    spec = mapping(obj, "spec")
    if kind in {"Deployment", "StatefulSet"}:
        yield _pods(name, mapping(spec, "template", "spec"), number(spec, "replicas", default=1))
    elif kind == "DaemonSet":
        yield _pods(name, mapping(spec, "template", "spec"), SERVERS)
    elif kind == "Job":
        yield _pods(name, mapping(spec, "template", "spec"), 1, when="upgrade")
    elif kind == "CronJob":
        template = mapping(spec, "jobTemplate", "spec", "template", "spec")
        yield _pods(name, template, 1, when="run")
    elif kind == "RayCluster":
        yield from _ray(name, spec)
    elif kind == "RayService":
        now = list(_ray(name, mapping(spec, "rayClusterConfig")))
        yield from now
        # Two clusters side by side: the new one must be healthy before the old one goes.
        yield from (replace(one, name=f"{one.name} (next)", when="upgrade") for one in now)
    elif kind == "RayJob":
        one = list(_ray(name, mapping(spec, "rayClusterSpec")))
        yield from (replace(need, when="run") for need in one)
    elif kind == "KafkaNodePool":
        yield _of(name, number(spec, "replicas"), [mapping(spec, "resources")])
    elif kind == "Kafka":
        yield from _kafka(name, spec)
    elif kind == "HelmChart":
        yield from _chart(name, spec)


def _ray(name: str, spec: Json) -> Iterator[Need]:
    head = mapping(spec, "headGroupSpec", "template", "spec")
    beside = [AUTOSCALER] if spec.get("enableInTreeAutoscaling") is True else []
    if head:
        yield _pods(f"{name}, head", head, 1, beside=beside)
    for group in items(spec, "workerGroupSpecs"):
        template = mapping(group, "template", "spec")
        yield _pods(
            f"{name}, {text(group, 'groupName')}", template, number(group, "replicas", default=1)
        )


def _kafka(name: str, spec: Json) -> Iterator[Need]:
    operators = [
        mapping(spec, "entityOperator", one, "resources")
        for one in ("topicOperator", "userOperator")
        if dig(spec, "entityOperator", one) is not None
    ]
    if operators:
        yield _of(f"{name}, entity operator", 1, operators)
    for one in ("kafkaExporter", "cruiseControl"):
        if dig(spec, one) is not None:
            yield _of(f"{name}, {one}", 1, [mapping(spec, one, "resources")])


def _chart(name: str, spec: Json) -> Iterator[Need]:
    values = yaml.safe_load(text(spec, "valuesContent")) or mapping(spec, "values")
    asked = mapping(values, "resources")
    cpu, memory = CHARTS.get(text(spec, "chart").rpartition("/")[2], ("0", "0"))
    default: Json = {"requests": {"cpu": cpu, "memory": memory}}
    yield _of(name, number(values, "replicas", default=1), [asked or default])


def _pods(
    name: str, spec: Json, count: int, *, beside: Sequence[Json] = (), when: str = "always"
) -> Need:
    """Return what pods ask for: all containers together, or the hungriest before them."""
    before = items(spec, "initContainers")
    sidecars = [one for one in before if one.get("restartPolicy") == "Always"]
    together = [mapping(one, "resources") for one in [*items(spec, "containers"), *sidecars]]
    running = _of(name, count, [*together, *beside], when=when)
    starting = [_of(name, count, [mapping(one, "resources")]) for one in before]
    return replace(
        running,
        cpu_m=max([running.cpu_m, *(one.cpu_m for one in starting)]),
        memory_bytes=max([running.memory_bytes, *(one.memory_bytes for one in starting)]),
    )


def _of(name: str, count: int, resources: Sequence[Json], *, when: str = "always") -> Need:
    return Need(
        name=name,
        pods=count,
        cpu_m=ceil(sum(_asked(one, "cpu") for one in resources) * 1000),
        memory_bytes=ceil(sum(_asked(one, "memory") for one in resources)),
        when=when,
    )


def _asked(resources: Json, what: str) -> float:
    """Return the request; without one, Kubernetes takes the limit."""
    return quantity(dig(resources, "requests", what) or dig(resources, "limits", what))
