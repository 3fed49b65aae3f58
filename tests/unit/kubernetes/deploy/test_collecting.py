"""Where the supervisor is, and what its answer means."""

import pytest

from ray_pipeline.kubernetes.deploy.collecting import generation_of, judge, supervised
from ray_pipeline.kubernetes.deploy.objects import Json, ref_of

SERVE = """
applications:
  - {name: api, route_prefix: /, import_path: "ray_pipeline.api.deployment:app"}
  - {name: supervisor, route_prefix: /supervisor, import_path: "ray_pipeline.serve.application:app"}
"""
URL = "http://localhost:8000/supervisor/ready"


def an_object(kind: str, name: str, **fields: object) -> Json:
    version = "ray.io/v1" if kind.startswith("Ray") else "v1"
    return {"apiVersion": version, "kind": kind, "metadata": {"name": name}, **fields}


def test_a_service_names_its_supervisor() -> None:
    """Others are not asked."""
    own = an_object("RayService", "a", spec={"serveConfigV2": SERVE})
    port = an_object("RayService", "b", spec={"serveConfigV2": "http_options: {port: 1}" + SERVE})
    foreign = an_object("RayService", "c", spec={"serveConfigV2": "applications: []"})

    assert supervised([own, port, foreign]) == {
        ref_of(own): URL,
        ref_of(port): URL.replace("8000", "1"),
    }


def test_a_cluster_has_the_supervisor_that_is_sent_to_it() -> None:
    """A second cluster, of batch jobs, has none."""
    objects = [
        an_object("ConfigMap", "serve", data={"other": "x", "serve.yaml": SERVE}),
        an_object("Deployment", "keeper", spec={"env": "http://a-head-svc:8265"}),
        an_object("RayCluster", "a"),
        an_object("RayCluster", "batch-a"),
    ]

    assert supervised(objects) == {ref_of(objects[2]): URL}
    assert supervised(objects[1:]) == {}


@pytest.mark.parametrize("kind", ["RayService", "RayCluster"])
def test_the_generation_is_a_variable_of_the_head(kind: str) -> None:
    """Without one, any generation counts."""
    variable = {"name": "PIPELINE_RAY__GENERATION", "value": "7"}
    template = {"spec": {"containers": [{"env": [{"name": "A"}, variable]}]}}
    cluster = {"headGroupSpec": {"template": template}}
    spec = {"rayClusterConfig": cluster} if kind == "RayService" else cluster

    assert generation_of(an_object(kind, "a", spec=spec)) == 7
    assert generation_of(an_object(kind, "a", spec={})) is None


READY: Json = {"ready": True, "collecting": True, "generation": 2, "waiting": [], "reasons": []}


@pytest.mark.parametrize(
    ("answer", "state", "detail"),
    [
        ({}, "waiting", "does not answer yet"),
        (READY, "ready", "generation 2 collects"),
        (READY | {"generation": 1}, "waiting", "generation 1 answers instead of 2"),
        (READY | {"collecting": False}, "waiting", "does not collect yet"),
        (READY | {"ready": False}, "waiting", "does not collect yet"),
        ({"ready": True, "generation": 2}, "ready", "generation 2 collects"),
        ({"ready": False, "generation": 2}, "waiting", "does not collect yet"),
    ],
)
def test_only_the_release_itself_counts(answer: Json, state: str, detail: str) -> None:
    """An earlier release reports no `collecting`: then the progress of data has to do."""
    judged = judge(answer, subject="RayService a", generation=2)

    assert (judged.state, detail in judged.detail) == (state, True)


def test_the_supervisors_reasons_are_the_findings() -> None:
    """Each with a way to look further; also if the answer has no reasons."""
    answer = READY | {"ready": False, "reasons": ["Postgres is down"], "waiting": ["a waits."]}

    judged = judge(answer, subject="RayService a", generation=None)
    silent = judge({"ready": False, "generation": 2}, subject="RayService a", generation=None)

    assert [finding.why for finding in judged.findings] == ["Postgres is down", "a waits."]
    assert len(silent.findings) == 1
