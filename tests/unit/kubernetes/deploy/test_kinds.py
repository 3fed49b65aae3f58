"""Which kinds a cluster lacks, and what the manifests bring."""

import pytest

from ray_pipeline.kubernetes.deploy.failures import MissingKinds
from ray_pipeline.kubernetes.deploy.kinds import (
    BRINGS,
    COMPONENT,
    HELM_CHART,
    how_to_get,
    missing,
    without_optional,
)
from ray_pipeline.kubernetes.deploy.objects import Json

MONITOR = ("monitoring.coreos.com/v1", "PodMonitor")
RULE = ("monitoring.coreos.com/v1", "PrometheusRule")
CLUSTER = ("ray.io/v1", "RayCluster")
WIDGET = ("example.com/v1", "Widget")


def an_object(kind: tuple[str, str], name: str = "a", **annotations: str) -> Json:
    named = {key.replace("__", "/").replace("_", "-"): text for key, text in annotations.items()}
    metadata = {"name": name, "namespace": "ns", "annotations": named}
    return {"apiVersion": kind[0], "kind": kind[1], "metadata": metadata}


def a_chart(chart: str, **annotations: str) -> Json:
    return an_object(HELM_CHART, "x", **annotations) | {"spec": {"chart": chart}}


def a_definition(*, served: bool = True) -> Json:
    version = {"name": "v1", "served": served}
    spec = {"group": "example.com", "names": {"kind": "Widget"}, "versions": [version]}
    kind = ("apiextensions.k8s.io/v1", "CustomResourceDefinition")
    return an_object(kind, "widgets.example.com") | {"spec": spec}


def lacking(*objects: Json, unserved: tuple[tuple[str, str], ...]) -> list[tuple[str, str]]:
    return [absent.kind for absent in missing(objects, unserved)]


@pytest.mark.parametrize(
    "chart",
    [
        "kuberay-operator",
        "oci://registry.example/charts/kuberay-operator",
        "https://%{KUBERNETES_API}%/static/charts/kuberay-operator-1.7.0.tgz",
    ],
)
def test_a_chart_brings_the_kinds_of_its_operator(chart: str) -> None:
    """However the chart is fetched."""
    assert lacking(a_chart(chart), an_object(CLUSTER), unserved=(CLUSTER,)) == []


@pytest.mark.parametrize("chart", ["kuberay-operator", "strimzi-kafka-operator", "something"])
def test_a_chart_does_not_bring_the_kinds_of_others(chart: str) -> None:
    """An operator of another group would be waited for in vain."""
    assert lacking(a_chart(chart), an_object(MONITOR), unserved=(MONITOR,)) == [MONITOR]


def test_a_chart_does_not_bring_a_kind_that_its_operator_does_not_have() -> None:
    """A misspelt kind is reported at once."""
    misspelt = ("ray.io/v1", "RayClutser")

    assert lacking(a_chart("kuberay-operator"), unserved=(misspelt,)) == [misspelt]
    assert "RayCluster" in how_to_get(*misspelt)


def test_charts_bring_nothing_where_there_is_no_helm_controller() -> None:
    """Only K3s installs a HelmChart; elsewhere the operators are missing too."""
    unserved = (HELM_CHART, CLUSTER)

    assert lacking(a_chart("kuberay-operator"), an_object(CLUSTER), unserved=unserved) == [
        HELM_CHART, CLUSTER,
    ]  # fmt: skip


def test_a_definition_brings_the_versions_that_it_serves() -> None:
    """And no other."""
    assert lacking(a_definition(), unserved=(WIDGET,)) == []
    assert lacking(a_definition(served=False), unserved=(WIDGET,)) == [WIDGET]
    newer = ("example.com/v2", "Widget")
    assert lacking(a_definition(), unserved=(newer,)) == [newer]


def test_an_installer_may_say_what_it_brings() -> None:
    """For charts that are not known here."""
    assert BRINGS == "ray-pipeline/brings"
    chart = a_chart("widgets", ray_pipeline__brings="other.org, example.com")

    assert lacking(a_chart("widgets"), unserved=(WIDGET,)) == [WIDGET]
    assert lacking(chart, unserved=(WIDGET,)) == []


def test_the_error_lists_every_kind_its_objects_and_both_ways_out() -> None:
    """One error, so that one look is enough; the command can be pasted."""
    assert COMPONENT == "ray-pipeline/component"
    objects = [
        an_object(kind, name, ray_pipeline__component="monitoring")
        for kind, name in ((MONITOR, "kafka"), (MONITOR, "ray"), (RULE, "alerts"))
    ]

    told = str(
        MissingKinds(missing(objects, (MONITOR, RULE)), command="ray-pipeline deploy apply lite")
    )

    assert "PodMonitor (monitoring.coreos.com/v1): PodMonitor ns/kafka, PodMonitor ns/ray" in told
    assert "PrometheusRule (monitoring.coreos.com/v1): PrometheusRule ns/alerts" in told
    assert "`ray-pipeline deploy apply lite --without monitoring`" in told
    assert told.count("`kubectl apply --server-side -f https://") == 1


def an_optional(kind: tuple[str, str], name: str = "a") -> Json:
    options = {"ray_pipeline__component": "monitoring", "ray_pipeline__optional": "true"}
    return an_object(kind, name, **options)


def test_an_optional_component_is_left_out_as_a_whole() -> None:
    """With the reason; all other objects stay."""
    dashboard = an_object(("v1", "ConfigMap"), "d", ray_pipeline__component="monitoring")
    objects = [an_object(CLUSTER), dashboard, an_optional(MONITOR), an_optional(RULE)]

    served = without_optional(objects, missing(objects, (MONITOR,)))

    assert served.objects == objects[:1]
    assert served.components == ("monitoring",)
    (reason,) = served.left_out
    assert "PodMonitor (monitoring.coreos.com/v1)" in reason
    assert "kubectl apply --server-side" in reason


def test_nothing_is_left_out_of_a_cluster_that_serves_every_kind() -> None:
    """Nor a component that is not marked as optional: its absence is an error."""
    objects = [an_optional(MONITOR), an_object(RULE, ray_pipeline__component="rules")]

    assert without_optional(objects, missing(objects, ())).objects == objects
    served = without_optional(objects, missing(objects, (RULE,)))
    assert (served.objects, served.left_out) == (objects, ())


def test_a_component_stays_if_one_object_of_the_kind_is_needed() -> None:
    """The error then names the kind."""
    objects = [an_optional(MONITOR), an_object(MONITOR, "b", ray_pipeline__component="monitoring")]

    assert without_optional(objects, missing(objects, (MONITOR,))).objects == objects


def test_what_belongs_to_no_component_cannot_be_left_out() -> None:
    """The error does not name a command that would not help."""
    objects = [an_object(MONITOR, ray_pipeline__component="monitoring"), an_object(MONITOR, "b")]

    told = str(MissingKinds(missing(objects, (MONITOR,)), command="apply"))

    assert "--without" not in told


@pytest.mark.parametrize(
    ("kind", "advice"),
    [
        (("helm.cattle.io/v1", "HelmChart"), "K3s"),
        (("cert-manager.io/v1", "Certificate"), "cert-manager"),
        (("apps/v1", "Deploymnt"), "correct the name"),
        (("networking.k8s.io/v9", "Ingress"), "the version"),
        (("kafka.strimzi.io/v1", "Kafka"), "helm install strimzi-kafka-operator"),
        (WIDGET, "whatever defines example.com"),
    ],
)
def test_every_kind_has_advice(kind: tuple[str, str], advice: str) -> None:
    """Also a kind of an unknown group."""
    assert advice in how_to_get(*kind)
