"""Where kinds come from: the API server itself, an operator, or something in the manifests."""

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from ray_pipeline.kubernetes.deploy.objects import (
    Json,
    Ref,
    annotation,
    group_of,
    items,
    ref_of,
    text,
)

Kind = tuple[str, str]
"""apiVersion and kind."""

BRINGS = "ray-pipeline/brings"  # API groups, for installers that SOURCES does not know
COMPONENT = "ray-pipeline/component"  # what `--without` takes
HELM_CHART = ("helm.cattle.io/v1", "HelmChart")
CHART_NAME = re.compile(r"(?:.*/)?(?P<name>[a-z0-9-]+?)(?:-v?\d[\w.+-]*)?(?:\.tgz)?")
PROMETHEUS = "https://github.com/prometheus-operator/prometheus-operator/releases/download/v0.93.0"
CERT_MANAGER = "https://github.com/cert-manager/cert-manager/releases/latest/download"


@dataclass(frozen=True, slots=True)
class Source:
    """
    What serves the kinds of an API group.

    Attributes:
        install: What a person does to get them.
        charts: The Helm charts that bring them.
        kinds: All of them; empty where they are not listed here.
    """

    install: str
    charts: frozenset[str] = frozenset()
    kinds: frozenset[str] = frozenset()


def _helm(chart: str, *, repo: str, version: str, namespace: str, options: str) -> str:
    return (
        f"`helm install {chart} {chart} --repo {repo} --version {version} "
        f"--namespace {namespace} --create-namespace {options}`"
    )


SOURCES = {
    "ray.io": Source(
        "install the KubeRay operator: "
        + _helm(
            "kuberay-operator", repo="https://ray-project.github.io/kuberay-helm/",
            version="1.7.0", namespace="kuberay-system",
            options="--set singleNamespaceInstall=true,watchNamespace={ray-pipeline}",
        ),
        frozenset({"kuberay-operator"}),
        frozenset("RayCluster RayService RayJob RayCronJob".split()),
    ),
    "kafka.strimzi.io": Source(
        "install the Strimzi operator: "
        + _helm(
            "strimzi-kafka-operator", repo="https://strimzi.io/charts/", version="1.2.0",
            namespace="strimzi-system", options="--set watchNamespaces={ray-pipeline}",
        ),
        frozenset({"strimzi-kafka-operator"}),
        frozenset(
            "Kafka KafkaNodePool KafkaTopic KafkaUser KafkaConnect KafkaConnector KafkaBridge "
            "KafkaMirrorMaker2 KafkaRebalance".split()
        ),
    ),
    "monitoring.coreos.com": Source(
        "install the Prometheus operator, or for now only its kinds: "
        f"`kubectl apply --server-side -f {PROMETHEUS}/stripped-down-crds.yaml`",
        frozenset({"kube-prometheus-stack", "prometheus-operator-crds"}),
    ),
    "cert-manager.io": Source(
        f"install cert-manager: `kubectl apply -f {CERT_MANAGER}/cert-manager.yaml`",
        frozenset({"cert-manager"}),
    ),
    "traefik.io": Source(
        "install Traefik; K3s has it unless it was started with --disable traefik",
        frozenset({"traefik", "traefik-crd"}),
    ),
    "helm.cattle.io": Source(
        "only K3s and RKE2 have it; elsewhere install the operators with `helm`, as "
        "docs/kubernetes.md says"
    ),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class MissingKind:
    """
    A kind that the API server does not serve and that nothing in the manifests brings.

    Attributes:
        refs: The objects of that kind.
        components: The components that these objects belong to; empty unless all belong to one.
    """

    kind: Kind
    refs: tuple[Ref, ...]
    components: frozenset[str] = frozenset()

    @property
    def name(self) -> str:
        """The kind, with its API version."""
        return f"{self.kind[1]} ({self.kind[0]})"


def how_to_get(api_version: str, kind: str) -> str:
    """Return what a person does to have the kind served."""
    group = group_of(api_version)
    source = SOURCES.get(group)
    if source and source.kinds and kind not in source.kinds:
        return f"correct the name: {group} has {', '.join(sorted(source.kinds))}"
    if source:
        return source.install
    if "." not in group or group.endswith(".k8s.io"):
        return "correct the name or the version: it is none of Kubernetes' own kinds here"
    return f"install whatever defines {group}"


def used(objects: Sequence[Json]) -> list[Kind]:
    """Return the kinds of the objects, each once, sorted."""
    return sorted({(text(obj, "apiVersion"), text(obj, "kind")) for obj in objects})


def missing(objects: Sequence[Json], unserved: Collection[Kind]) -> list[MissingKind]:
    """Return those of the unserved kinds that nothing in the manifests brings."""
    return [
        _missing(kind, objects) for kind in sorted(unserved) if not brought(kind, objects, unserved)
    ]


def brought(kind: Kind, objects: Sequence[Json], unserved: Collection[Kind]) -> bool:
    """
    Say whether something in the manifests brings the kind: its definition, or an operator's chart.

    A chart brings nothing where the cluster does not serve HelmChart.
    """
    if any(kind in _defined(obj) for obj in objects):
        return True
    helm = HELM_CHART not in unserved or any(HELM_CHART in _defined(obj) for obj in objects)
    return any(_installs(obj, kind, helm=helm) for obj in objects)


def _missing(kind: Kind, objects: Sequence[Json]) -> MissingKind:
    mine = [obj for obj in objects if (text(obj, "apiVersion"), text(obj, "kind")) == kind]
    components = frozenset(annotation(obj, COMPONENT) for obj in mine)
    refs = tuple(sorted(map(ref_of, mine)))
    return MissingKind(kind, refs, frozenset() if "" in components else components)


def _defined(obj: Json) -> Iterator[Kind]:
    if text(obj, "kind") != "CustomResourceDefinition":
        return
    group, kind = text(obj, "spec", "group"), text(obj, "spec", "names", "kind")
    for version in items(obj, "spec", "versions"):
        if version.get("served") is True:
            yield f"{group}/{text(version, 'name')}", kind


def _installs(obj: Json, kind: Kind, *, helm: bool) -> bool:
    group = group_of(kind[0])
    if text(obj, "kind") == "HelmChart" and not helm:
        return False
    if group in re.split(r"[,\s]+", annotation(obj, BRINGS)) and group:
        return True
    source = SOURCES.get(group)
    return source is not None and _chart(obj) in source.charts and _lists(source, kind[1])


def _lists(source: Source, kind: str) -> bool:
    return not source.kinds or kind in source.kinds


def _chart(obj: Json) -> str:
    """Return the name of the chart, without where it is fetched from and without its version."""
    if text(obj, "kind") != "HelmChart":
        return ""
    place = text(obj, "spec", "chart") or text(obj, "metadata", "name")  # the latter: chartContent
    named = CHART_NAME.fullmatch(place)
    return named["name"] if named else place
