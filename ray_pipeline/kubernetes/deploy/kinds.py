"""
The origin of kinds: the API server itself, an operator, or an object of the manifests.

An apply must not start if it needs a kind that nothing provides. A kind that is not served yet is
fine if the manifests hold its definition, or the chart of its operator.
"""

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from ray_pipeline.kubernetes.deploy.objects import (
    Json,
    Ref,
    annotation,
    group_of,
    items,
    kind_of,
    name_of,
    ref_of,
    text,
)

Kind = tuple[str, str]
"""apiVersion and kind."""

BRINGS = "ray-pipeline/brings"  # API groups, for installers that SOURCES does not list
COMPONENT = "ray-pipeline/component"  # the name for `--without`
OPTIONAL = "ray-pipeline/optional"  # "true": leave the component out if the kind is not served
HELM_CHART = ("helm.cattle.io/v1", "HelmChart")
CHART_NAME = re.compile(r"(?:.*/)?(?P<name>[a-z0-9-]+?)(?:-v?\d[\w.+-]*)?(?:\.tgz)?")
PROMETHEUS = "https://github.com/prometheus-operator/prometheus-operator/releases/download/v0.93.0"
CERT_MANAGER = "https://github.com/cert-manager/cert-manager/releases/latest/download"


@dataclass(frozen=True, slots=True)
class KindSource:
    """
    The provider of the kinds of an API group.

    Attributes:
        install: The fix if they are missing.
        charts: The Helm charts that install them.
        kinds: All of them; empty if this module does not list them.
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
    "ray.io": KindSource(
        "install the KubeRay operator: "
        + _helm(
            "kuberay-operator", repo="https://ray-project.github.io/kuberay-helm/",
            version="1.7.0", namespace="kuberay-system",
            options="--set singleNamespaceInstall=true,watchNamespace={ray-pipeline}",
        ),
        frozenset({"kuberay-operator"}),
        frozenset("RayCluster RayService RayJob RayCronJob".split()),
    ),
    "kafka.strimzi.io": KindSource(
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
    "monitoring.coreos.com": KindSource(
        "install the Prometheus operator, or for now only its kinds: "
        f"`kubectl apply --server-side -f {PROMETHEUS}/stripped-down-crds.yaml`",
        frozenset({"kube-prometheus-stack", "prometheus-operator-crds"}),
    ),
    "cert-manager.io": KindSource(
        f"install cert-manager: `kubectl apply -f {CERT_MANAGER}/cert-manager.yaml`",
        frozenset({"cert-manager"}),
    ),
    "traefik.io": KindSource(
        "install Traefik; K3s includes it unless it was started with --disable traefik",
        frozenset({"traefik", "traefik-crd"}),
    ),
    "helm.cattle.io": KindSource(
        "only K3s and RKE2 include it; elsewhere install the operators with `helm`, as "
        "docs/kubernetes.md shows"
    ),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class MissingKind:
    """
    A kind that the API server does not serve and that no object of the manifests installs.

    Attributes:
        refs: The objects of that kind.
        components: The components of these objects; empty if an object belongs to no component.
        optional: Whether an apply may leave these components out; each of the objects says so.
    """

    kind: Kind
    refs: tuple[Ref, ...]
    components: frozenset[str] = frozenset()
    optional: bool = False

    @property
    def name(self) -> str:
        """The kind, with its API version."""
        return f"{self.kind[1]} ({self.kind[0]})"


def how_to_get(api_version: str, kind: str) -> str:
    """Return the fix for a kind that is not served."""
    group = group_of(api_version)
    source = SOURCES.get(group)
    if source and source.kinds and kind not in source.kinds:
        return f"correct the name: {group} has {', '.join(sorted(source.kinds))}"
    if source:
        return source.install
    if "." not in group or group.endswith(".k8s.io"):
        return "correct the name or the version: Kubernetes has no such kind"
    return f"install whatever defines {group}"


def _kind(obj: Json) -> Kind:
    return text(obj, "apiVersion"), kind_of(obj)


def used(objects: Sequence[Json]) -> list[Kind]:
    """Return the kinds of the objects, each once, sorted."""
    return sorted(set(map(_kind, objects)))


def missing(objects: Sequence[Json], unserved: Collection[Kind]) -> list[MissingKind]:
    """Return the unserved kinds that no object of the manifests installs."""
    return [
        _missing(kind, objects)
        for kind in sorted(unserved)
        if not _is_brought(kind, objects, unserved)
    ]


def _is_brought(kind: Kind, objects: Sequence[Json], unserved: Collection[Kind]) -> bool:
    """
    Say whether the manifests install the kind: with its definition, or an operator's chart.

    A chart installs nothing if the cluster does not serve HelmChart.
    """
    if any(kind in _defined(obj) for obj in objects):
        return True
    helm = HELM_CHART not in unserved or any(HELM_CHART in _defined(obj) for obj in objects)
    return any(_installs(obj, kind, helm=helm) for obj in objects)


def _missing(kind: Kind, objects: Sequence[Json]) -> MissingKind:
    instances = [obj for obj in objects if _kind(obj) == kind]
    components = frozenset(annotation(obj, COMPONENT) for obj in instances)
    refs = tuple(sorted(map(ref_of, instances)))
    if "" in components:
        return MissingKind(kind, refs)
    optional = all(annotation(obj, OPTIONAL) == "true" for obj in instances)
    return MissingKind(kind, refs, components, optional)


@dataclass(frozen=True, slots=True)
class Served:
    """
    The manifests as far as the cluster can take them.

    Attributes:
        objects: Without the optional components whose kinds it does not serve.
        left_out: Why a component was left out, and how to add it; one sentence a component.
        components: The names of these components.
    """

    objects: list[Json]
    left_out: tuple[str, ...]
    components: tuple[str, ...]


def without_optional(objects: Sequence[Json], absent: Sequence[MissingKind]) -> Served:
    """Leave out each optional component of which a kind is missing, as a whole."""
    optional = [kind for kind in absent if kind.optional]
    components = tuple(sorted({name for kind in optional for name in kind.components}))
    return Served(
        [obj for obj in objects if annotation(obj, COMPONENT) not in components],
        tuple(
            _left_out(name, [kind for kind in optional if name in kind.components])
            for name in components
        ),
        components,
    )


def _left_out(component: str, absent: Sequence[MissingKind]) -> str:
    names = ", ".join(kind.name for kind in absent)
    fixes = "; ".join(dict.fromkeys(how_to_get(*kind.kind) for kind in absent))
    return (
        f"{component} is left out: the cluster does not serve {names}; to add it, {fixes}, "
        "and apply again"
    )


def _defined(obj: Json) -> Iterator[Kind]:
    if kind_of(obj) != "CustomResourceDefinition":
        return
    group, kind = text(obj, "spec", "group"), text(obj, "spec", "names", "kind")
    for version in items(obj, "spec", "versions"):
        if version.get("served") is True:
            yield f"{group}/{text(version, 'name')}", kind


def _installs(obj: Json, kind: Kind, *, helm: bool) -> bool:
    group = group_of(kind[0])
    if kind_of(obj) == "HelmChart" and not helm:
        return False
    if group in re.split(r"[,\s]+", annotation(obj, BRINGS)) and group:
        return True
    source = SOURCES.get(group)
    if source is None or _chart(obj) not in source.charts:
        return False
    return not source.kinds or kind[1] in source.kinds


def _chart(obj: Json) -> str:
    """Return the name of a HelmChart's chart, without its repository and version."""
    if kind_of(obj) != "HelmChart":
        return ""
    # With chartContent, the chart itself is in the object, which has the chart's name.
    reference = text(obj, "spec", "chart") or name_of(obj)
    match = CHART_NAME.fullmatch(reference)
    return match["name"] if match else reference
