"""The shipped manifests in a dry run of a real API server: strict fields, rules in CEL."""

import json
from pathlib import Path

import pytest

from ray_pipeline.cli.deploy import ROOTS
from ray_pipeline.errors import PipelineError
from ray_pipeline.kubernetes.deploy.installation import deploy
from ray_pipeline.kubernetes.deploy.kube import Kube
from ray_pipeline.kubernetes.deploy.manifest_source import read
from ray_pipeline.kubernetes.deploy.objects import Json, Ref, mapping, ref_of, text
from ray_pipeline.kubernetes.deploy.readiness import readiness
from ray_pipeline.kubernetes.deploy.rollout import Rollout
from ray_pipeline.kubernetes.manifests.build import build
from tests.k8s.world import World, an_object

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


MOST_LOOKS = 40.0  # of a rollout's clock, which counts looks here


class Cluster:
    """Operators and a kubelet: each object becomes ready once what its pods wait for is ready."""

    def __init__(self, world: World, objects: list[Json]) -> None:
        self.looks = 0.0
        self._world = world
        self._objects = objects

    def clock(self) -> float:
        return self.looks

    def pause(self, seconds: float) -> None:
        self.looks += seconds
        for ref in map(ref_of, self._objects):
            if self._world.kube.get(ref) and not self._waits(ref):
                self._world.make_ready(ref)

    def _waits(self, ref: Ref) -> bool:
        """Say whether the pods are not ready: the keeper's probe needs the head of Ray."""
        if ref.name != "keeper":
            return False
        ray = Ref("ray.io/v1", "RayCluster", ref.namespace, "ray-pipeline")
        return readiness(self._world.kube.get(ray)).state != "ready"


@pytest.mark.parametrize("source", ["lite", "ha", "dev"])
@pytest.mark.usefixtures("spaces")
def test_a_first_install_ends(world: World, namespace: str, source: str) -> None:
    """No wave waits for a later one."""
    objects = [moved(obj, namespace) for obj in read(source, build, roots=ROOTS, namespace=None)]
    cluster = Cluster(world, objects)
    rollout = Rollout(
        world.kube, say=lambda _: None, deadline_s=MOST_LOOKS, poll_s=1.0,
        pause=cluster.pause, clock=cluster.clock,
    )  # fmt: skip

    world.kube.apply(an_object("v1", "Namespace", namespace, ""))
    head = world.add(a_head(objects, namespace))
    answer = {"ready": True, "collecting": True, "generation": 1}
    world.server.outputs[namespace, ref_of(head).name] = json.dumps(answer)
    done = deploy(rollout, objects, namespace=namespace, source=source)

    assert done.state == "ready"
    assert rollout.progress.total == len(objects)


def a_head(objects: list[Json], namespace: str) -> Json:
    """Return the pod of Ray's head."""
    (ray,) = [obj for obj in objects if obj["kind"] in {"RayCluster", "RayService"}]
    config = mapping(ray, "spec", "rayClusterConfig") or mapping(ray, "spec")
    spec = mapping(config, "headGroupSpec", "template", "spec")
    pod = an_object("v1", "Pod", "head", namespace, spec=spec)
    cluster = "ray-pipeline" if ray["kind"] == "RayCluster" else "pipeline-1"
    pod["metadata"] |= {"labels": {"ray.io/cluster": cluster, "ray.io/node-type": "head"}}
    return pod


def moved(obj: Json, namespace: str) -> Json:
    """Return the object in a namespace of the test's own."""
    metadata: Json = dict(obj["metadata"])  # type: ignore[call-overload]
    if obj["kind"] == "Namespace":
        metadata["name"] = namespace
    if text(obj, "metadata", "namespace") == "ray-pipeline":
        metadata["namespace"] = namespace
    return obj | {"metadata": metadata}
