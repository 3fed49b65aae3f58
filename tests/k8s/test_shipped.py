"""The shipped manifests in a dry run of a real API server: strict fields, rules in CEL."""

from pathlib import Path

import pytest

from ray_pipeline.commands.deploy import ROOTS
from ray_pipeline.deploy.kube import Kube
from ray_pipeline.deploy.objects import Json, ref_of
from ray_pipeline.deploy.source import read
from ray_pipeline.errors import PipelineError
from ray_pipeline.manifests.build import build
from tests.k8s.world import an_object

KUBERAY = Path(__file__).parents[2] / "kuberay"
SOURCES = ("ha", "lite", "dev", str(KUBERAY / "jobs"), str(KUBERAY / "restore"))


@pytest.fixture
def spaces(kube: Kube) -> None:
    """The namespaces that the manifests name."""
    for name in ("ray-pipeline", "kube-system"):
        kube.apply(an_object("v1", "Namespace", name, ""))


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.usefixtures("spaces")
def test_the_server_takes_every_object(kube: Kube, source: str) -> None:
    objects = read(source, build, roots=ROOTS, namespace=None)
    for obj in objects:
        ref = ref_of(obj)
        taken = kube.apply(obj, dry_run=True)
        assert ref_of(taken).name == ref.name
    if source in {"ha", "lite"}:
        groups = {ref_of(obj).group for obj in objects}
        assert groups >= {"ray.io", "kafka.strimzi.io", "helm.cattle.io", "monitoring.coreos.com"}


@pytest.mark.usefixtures("spaces")
def test_the_server_refuses_what_only_a_rule_in_cel_forbids(kube: Kube) -> None:
    """So the dry run above is one that can fail."""
    (job,) = [
        one for one in read(SOURCES[3], build, roots=ROOTS, namespace=None)
        if one["metadata"]["name"] == "run-once"  # type: ignore[index]
    ]  # fmt: skip
    spec: Json = job["spec"]  # type: ignore[assignment]
    when = {"jobStatus": "SUCCEEDED", "jobDeploymentStatus": "Failed"}
    spec["deletionStrategy"] = {
        "deletionRules": [{"policy": "DeleteSelf", "condition": when}],
    }  # fmt: skip
    with pytest.raises(PipelineError):
        kube.apply(job, dry_run=True)
