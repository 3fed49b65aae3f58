"""When Ray is ready: KubeRay's unchanged status, an operator that is away, and what collects."""

import json
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta

import pytest

from ray_pipeline.kubernetes.deploy.installation import current, deploy, revisions, statuses
from ray_pipeline.kubernetes.deploy.kube import Kube, connect
from ray_pipeline.kubernetes.deploy.objects import Json, ref_of, text
from ray_pipeline.kubernetes.deploy.rollout import NotReady, Rollout
from tests.k8s import test_deploy
from tests.k8s.apiserver import ApiServer
from tests.k8s.world import (
    World,
    a_namespace,
    an_object,
    operator_pod,
    ray_cluster,
    ray_pods,
    ray_service,
    ready_condition,
)
from tests.support import eventually_sync

A_FEW_POLLS = 8.0
SERVE = """
http_options: {port: 8001}
applications:
  - {name: supervisor, route_prefix: /watch, import_path: "ray_pipeline.serve.application:app"}
"""


def a_rollout(
    kube: Kube,
    play: Callable[[], object] = lambda: None,
    say: Callable[[str], None] = lambda _: None,
) -> Rollout:
    """Return a rollout that gives up early: nothing here takes many looks."""
    return test_deploy.a_rollout(kube, play, say=say, deadline_s=A_FEW_POLLS)


class LaterKube(Kube):
    """A cluster whose clock is a minute ahead: whatever was changed, its operator could react."""

    def now(self) -> datetime:
        return super().now() + timedelta(minutes=1)


@pytest.fixture
def later(api_server: ApiServer) -> Iterator[LaterKube]:
    """The cluster, a minute later."""
    plain = connect(kubeconfig=api_server.kubeconfig("later", host=api_server.url))
    kube = LaterKube(plain._api.configuration)
    yield kube
    kube.close()
    plain.close()


@pytest.fixture
def operator(world: World, namespace: str) -> Iterator[Json]:
    """A KubeRay operator that runs, in a namespace of its own."""
    home = a_namespace(f"{namespace}-operator")
    world.kube.apply(home)
    pod = world.add(operator_pod(f"{namespace}-operator"))
    yield pod
    world.kube.delete(ref_of(pod))


def ready(world: World, service: Json, *, cluster: str = "pipeline-aaaaa") -> None:
    """Report what KubeRay reports of a RayService that serves, of its present spec."""
    applications = {"supervisor": {"status": "RUNNING"}}
    active = {"rayClusterName": cluster, "applicationStatuses": applications}
    world.report(ref_of(service), conditions=[ready_condition()], activeServiceStatus=active)


def installed(world: World, namespace: str, service: Json) -> list[Json]:
    """Deploy a RayService, and create the cluster that KubeRay creates for it."""
    objects = [a_namespace(namespace), service]
    rollout = a_rollout(world.kube, lambda: ready(world, service))
    deploy(rollout, objects, namespace=namespace, source="test")
    add_cluster(world, service, "pipeline-aaaaa")
    return objects


def add_cluster(world: World, service: Json, name: str) -> Json:
    spec = service["spec"]["rayClusterConfig"]
    cluster = an_object(
        "ray.io/v1", "RayCluster", name, service["metadata"]["namespace"], spec=spec
    )
    cluster["metadata"] |= {"labels": {"ray.io/originated-from-cr-name": "pipeline"}}
    return world.add(cluster)


@pytest.mark.usefixtures("operator")
def test_a_change_that_needs_no_action_is_ready(
    world: World, later: LaterKube, namespace: str
) -> None:
    """KubeRay leaves the status, with the earlier number, as it is. So do apply and rollback."""
    installed(world, namespace, ray_service(namespace, workers=1))

    for workers in (3, 1):
        objects = [a_namespace(namespace), ray_service(namespace, workers=workers)]
        deploy(a_rollout(later), objects, namespace=namespace, source="test")

    assert [revision.state for revision in revisions(world.kube, namespace)] == ["ready"] * 3


@pytest.mark.usefixtures("operator")
def test_a_change_is_not_ready_before_the_operator_could_react(
    world: World, namespace: str
) -> None:
    """The status may still describe the earlier spec."""
    installed(world, namespace, ray_service(namespace, workers=1))
    objects = [a_namespace(namespace), ray_service(namespace, workers=3)]

    with pytest.raises(NotReady, match="did not become ready in time"):
        deploy(a_rollout(world.kube), objects, namespace=namespace, source="test")


def test_an_operator_that_does_not_run_is_named(
    world: World, later: LaterKube, namespace: str
) -> None:
    """Its pod is looked at, in every namespace: the status alone cannot tell."""
    installed(world, namespace, ray_service(namespace, workers=1))
    objects = [a_namespace(namespace), ray_service(namespace, workers=3)]

    with pytest.raises(NotReady, match="kuberay-operator does not run: no pod") as stuck:
        deploy(a_rollout(later), objects, namespace=namespace, source="test")

    assert "kubectl get pods -A -l app.kubernetes.io/name=kuberay-operator" in str(stuck.value)


@pytest.mark.usefixtures("operator")
def test_an_operator_that_ignores_the_namespace_is_not_called_dead(
    later: LaterKube, namespace: str
) -> None:
    """It runs, and has written nothing."""
    objects = [a_namespace(namespace), ray_service(namespace)]

    with pytest.raises(NotReady, match=f"runs, but has not seen it yet.*{namespace}"):
        deploy(a_rollout(later), objects, namespace=namespace, source="test")


@pytest.mark.usefixtures("operator")
def test_a_service_whose_cluster_has_the_earlier_image_is_not_ready(
    world: World, later: LaterKube, namespace: str
) -> None:
    """However long its status says so: it is ready when the cluster of the new spec serves."""
    installed(world, namespace, ray_service(namespace, image="app:1"))
    newer = ray_service(namespace, image="app:2", generation=2)
    objects = [a_namespace(namespace), newer]

    with pytest.raises(NotReady, match="pipeline-aaaaa serves an earlier spec"):
        deploy(a_rollout(later), objects, namespace=namespace, source="test")
    last, _ = current(later, namespace)
    (status,) = [row for row in statuses(later, last) if row.ref.kind == "RayService"]
    assert "pipeline-aaaaa serves an earlier spec" in status.readiness.detail

    add_cluster(world, newer, "pipeline-bbbbb")
    rollout = a_rollout(later, lambda: ready(world, newer, cluster="pipeline-bbbbb"))
    deploy(rollout, objects, namespace=namespace, source="test")
    assert revisions(world.kube, namespace)[-1].state == "ready"


def of_cluster(world: World, cluster: Json) -> None:
    world.report(
        ref_of(cluster), state="ready", desiredWorkerReplicas=1, readyWorkerReplicas=1
    )  # fmt: skip


def deployed_cluster(world: World, namespace: str) -> list[Json]:
    """Deploy a RayCluster of generation 1; return its pods, which were made a second ago."""
    first = ray_cluster(namespace, generation=1)
    rollout = a_rollout(world.kube, lambda: of_cluster(world, first))
    deploy(rollout, [a_namespace(namespace), first], namespace=namespace, source="test")
    pods = [world.add(pod) for pod in ray_pods(first)]
    made_at = datetime.fromisoformat(text(pods[-1], "metadata", "creationTimestamp"))
    eventually_sync(lambda: world.kube.now() > made_at, timeout_s=30, what="the next second")
    return pods


@pytest.mark.usefixtures("operator")
def test_pods_with_earlier_settings_are_replaced(
    world: World, later: LaterKube, namespace: str
) -> None:
    """KubeRay replaces them only with `upgradeStrategy`, which exists since 1.6."""
    pods = deployed_cluster(world, namespace)
    newer = ray_cluster(namespace, generation=2)
    said: list[str] = []

    rollout = a_rollout(later, say=said.append)
    deploy(rollout, [a_namespace(namespace), newer], namespace=namespace, source="test")

    assert sum("KubeRay creates it again" in line for line in said) == len(pods)
    assert [world.kube.get(ref_of(pod)) for pod in pods] == [None, None]


@pytest.mark.usefixtures("operator")
def test_pods_of_an_earlier_spec_are_waited_for(
    world: World, later: LaterKube, namespace: str
) -> None:
    """With a strategy KubeRay replaces them, and the cluster is not ready before that."""
    pods = deployed_cluster(world, namespace)
    newer = ray_cluster(namespace, generation=2)
    newer["spec"] |= {"upgradeStrategy": {"type": "Recreate"}}
    said: list[str] = []

    with pytest.raises(NotReady):
        deploy(
            a_rollout(later, lambda: of_cluster(world, newer), say=said.append),
            [a_namespace(namespace), newer], namespace=namespace, source="test",
        )  # fmt: skip

    assert any("earlier spec still run: pipeline-head pipeline-worker" in line for line in said)
    assert [world.kube.get(ref_of(pod)) is None for pod in pods] == [False, False]


def supervisor_says(api_server: ApiServer, namespace: str, cluster: str, **answer: object) -> None:
    api_server.outputs[namespace, f"{cluster}-head"] = json.dumps(answer)


@pytest.fixture
def upgrade(world: World, api_server: ApiServer, namespace: str) -> list[Json]:
    """Generation 1 collects in its cluster; KubeRay has just promoted that of generation 2."""
    older = ray_service(namespace, serve=SERVE)
    newer = ray_service(namespace, generation=2, serve=SERVE)
    world.kube.apply(a_namespace(namespace))
    for service, name in ((older, "pipeline-aaaaa"), (newer, "pipeline-bbbbb")):
        for pod in ray_pods(add_cluster(world, service, name)):
            world.add(pod)
    answers = {"ready": True, "collecting": True, "generation": 1, "reasons": [], "waiting": []}
    supervisor_says(api_server, namespace, "pipeline-aaaaa", **answers)
    return [a_namespace(namespace), newer]


def test_a_release_is_ready_when_it_collects(
    world: World, api_server: ApiServer, namespace: str, upgrade: list[Json]
) -> None:
    """Not when KubeRay has switched over: the older generation may still collect."""
    said: list[str] = []
    waits = "producer-sp500-00-g2 is waiting: for the lease."
    answer = {"ready": True, "generation": 2, "reasons": [], "waiting": [waits]}
    supervisor_says(api_server, namespace, "pipeline-bbbbb", collecting=False, **answer)

    def play() -> None:
        ready(world, upgrade[1], cluster="pipeline-bbbbb")
        if any(waits in line for line in said):
            supervisor_says(
                api_server, namespace, "pipeline-bbbbb", collecting=True, **answer | {"waiting": []}
            )

    rollout = a_rollout(world.kube, play, say=said.append)
    deploy(rollout, upgrade, namespace=namespace, source="test")

    assert any("generation 2 does not collect yet" in line for line in said)
    assert any("generation 2 collects" in line for line in said)


def test_a_release_that_never_collects_fails_with_the_reasons_of_its_supervisor(
    world: World, api_server: ApiServer, namespace: str, upgrade: list[Json]
) -> None:
    """Also in the status, later."""
    reason = "no feed stored a record for 90 s"
    supervisor_says(
        api_server, namespace, "pipeline-bbbbb",
        ready=False, collecting=True, generation=2, reasons=[reason], waiting=[],
    )  # fmt: skip
    rollout = a_rollout(world.kube, lambda: ready(world, upgrade[1], cluster="pipeline-bbbbb"))

    with pytest.raises(NotReady, match=reason):
        deploy(rollout, upgrade, namespace=namespace, source="test")

    last, _ = current(world.kube, namespace)
    (status,) = [row for row in statuses(world.kube, last) if row.ref.kind == "RayService"]
    assert status.readiness.state == "waiting"
    assert [finding.why for finding in status.findings] == [reason]


@pytest.mark.parametrize(
    ("answer", "detail"),
    [
        ("", "its supervisor does not answer yet"),
        ("Traceback: ...", "its supervisor does not answer yet"),
        ('{"ready": true, "generation": 1}', "generation 1 answers instead of 2"),
    ],
)
def test_an_answer_of_another_release_does_not_count(
    world: World,
    api_server: ApiServer,
    namespace: str,
    upgrade: list[Json],
    answer: str,
    detail: str,
) -> None:
    """Nor does none."""
    said: list[str] = []
    api_server.outputs[namespace, "pipeline-bbbbb-head"] = answer
    play = lambda: ready(world, upgrade[1], cluster="pipeline-bbbbb")  # noqa: E731

    with pytest.raises(NotReady):
        deploy(
            a_rollout(world.kube, play, say=said.append),
            upgrade, namespace=namespace, source="test",
        )  # fmt: skip

    assert any(detail in line for line in said)


def test_a_user_who_may_not_run_commands_gets_a_notice(
    world: World, api_server: ApiServer, namespace: str, upgrade: list[Json]
) -> None:
    """Everything else was checked."""
    said: list[str] = []
    api_server.refusals[namespace, "pipeline-bbbbb-head"] = 403
    rollout = a_rollout(
        world.kube, lambda: ready(world, upgrade[1], cluster="pipeline-bbbbb"), say=said.append
    )

    deploy(rollout, upgrade, namespace=namespace, source="test")

    last, _ = current(world.kube, namespace)
    (status,) = [row for row in statuses(world.kube, last) if row.ref.kind == "RayService"]
    assert "not known whether it collects" in status.readiness.detail


def test_the_supervisor_of_a_plain_cluster_is_found_by_its_configuration(
    world: World, api_server: ApiServer, namespace: str
) -> None:
    """In a ConfigMap, which a Deployment sends to the head's Service."""
    cluster = ray_cluster(namespace)
    config = an_object("v1", "ConfigMap", "serve", namespace, data={"serve.yaml": SERVE})
    keeper = an_object(
        "v1", "ConfigMap", "keeper", namespace, data={"a": "http://pipeline-head-svc:8265"}
    )
    world.kube.apply(a_namespace(namespace))
    for pod in ray_pods(cluster):
        world.add(pod)
    supervisor_says(
        api_server, namespace, "pipeline",
        ready=False, collecting=False, generation=1, reasons=["starting"], waiting=[],
    )  # fmt: skip
    rollout = a_rollout(world.kube, lambda: of_cluster(world, cluster))

    with pytest.raises(NotReady, match="starting"):
        deploy(
            rollout, [a_namespace(namespace), config, keeper, cluster],
            namespace=namespace, source="test",
        )  # fmt: skip


def test_a_refused_object_ends_a_revision(world: World, namespace: str) -> None:
    """It does not remain `applying`, whatever the server refuses."""
    wrong = ray_service(namespace)
    wrong["spec"]["rayClusterConfigs"] = {}

    with pytest.raises(Exception, match="rayClusterConfigs"):
        deploy(
            a_rollout(world.kube), [a_namespace(namespace), wrong],
            namespace=namespace, source="test",
        )  # fmt: skip

    assert [revision.state for revision in revisions(world.kube, namespace)] == ["failed"]
