"""Plan, apply, roll back and delete, against a real API server."""

from collections.abc import Callable
from typing import Any

import pytest

from ray_pipeline.errors import PipelineError
from ray_pipeline.kubernetes.deploy.failures import (
    FieldConflict,
    Forbidden,
    MissingKinds,
    MissingNamespace,
    ObjectRefused,
)
from ray_pipeline.kubernetes.deploy.installation import (
    current,
    deploy,
    revisions,
    statuses,
    undeploy,
)
from ray_pipeline.kubernetes.deploy.kube import Kube, connect
from ray_pipeline.kubernetes.deploy.objects import FIELD_MANAGER, Json, Ref, items, ref_of, text
from ray_pipeline.kubernetes.deploy.plan import api_server_cut_off, missing_secrets, plan
from ray_pipeline.kubernetes.deploy.revisions import KEPT, dropped, target
from ray_pipeline.kubernetes.deploy.rollout import NotReady, Rollout
from tests.k8s.apiserver import ApiServer
from tests.k8s.world import (
    World,
    a_namespace,
    an_object,
    changed,
    config,
    job,
    kafka,
    ray_service,
    release,
)

MOST_POLLS = 20
IMAGE = ("spec", "rayClusterConfig", "headGroupSpec", "template", "spec", "containers")


class Turns:
    """A clock that is the number of polls, so that a time-out is a number of looks, not a time."""

    def __init__(self, play: Callable[[], object] = lambda: None) -> None:
        self.now = 0.0
        self._play = play

    def clock(self) -> float:
        return self.now

    def pause(self, seconds: float) -> None:
        self.now += seconds
        self._play()


def a_rollout(kube: Kube, play: Callable[[], object] = lambda: None, **options: Any) -> Rollout:
    turns = Turns(play)
    defaults = {"say": lambda _: None, "deadline_s": float(MOST_POLLS)}
    return Rollout(
        kube, poll_s=1.0, explain_after_s=5.0, pause=turns.pause, clock=turns.clock,
        **defaults | options,
    )  # fmt: skip


def put(world: World, objects: list[Json], namespace: str, **options: Any) -> Rollout:
    """Deploy, with operators that do their work."""
    rollout = a_rollout(world.kube, lambda: world.operate(objects), **options)
    deploy(rollout, objects, namespace=namespace, source="test")
    return rollout


def states(kube: Kube, objects: list[Json], **options: Any) -> dict[str, str]:
    return {change.ref.kind: change.state for change in plan(kube, objects, **options)}


def test_a_plan_changes_nothing(kube: Kube, namespace: str) -> None:
    """Of a new release everything would be created, and nothing is."""
    objects = release(namespace)

    assert set(states(kube, objects).values()) == {"created"}
    assert [kube.get(ref_of(obj)) for obj in objects] == [None] * len(objects)


def test_after_an_apply_nothing_is_left_to_change(world: World, namespace: str) -> None:
    """Defaults of the server and fields of operators do not count as differences."""
    objects = release(namespace)
    put(world, objects, namespace)

    assert set(states(world.kube, objects).values()) == {"unchanged"}
    assert [one.state for one in revisions(world.kube, namespace)] == ["ready"]


def test_each_wave_waits_for_the_one_before(world: World, namespace: str) -> None:
    """No topic before Kafka is ready, no migration before its topics, no Ray before that."""
    put(world, release(namespace), namespace)

    first = {kind: n for n, kinds in reversed(list(enumerate(world.seen))) for kind in kinds}
    order = ["Kafka", "KafkaTopic", "Job", "RayService"]
    assert sorted(order, key=first.__getitem__) == order
    assert len({first[kind] for kind in order}) == len(order)


def test_a_changed_field_is_told_by_its_path(world: World, namespace: str) -> None:
    """And only that."""
    objects = [a_namespace(namespace), ray_service(namespace, workers=1)]
    put(world, objects, namespace)

    change = plan(world.kube, [objects[0], ray_service(namespace, workers=3)])[1]

    assert [(one.path, one.before, one.after) for one in change.fields] == [
        ("spec.rayClusterConfig.workerGroupSpecs[0].replicas", "1", "3")
    ]


@pytest.mark.parametrize(
    ("path", "value", "why"),
    [
        (("spec", "rayClusterConfigs"), {}, "field not declared in schema"),
        (
            ("spec", "rayClusterConfig", "headGroupSpec", "rayStartParams", "num-cpus"),
            0,
            "expected string",
        ),
        (("metadata", "name"), "Not_A_Name", "lowercase RFC 1123"),
    ],
)
def test_what_the_server_refuses_is_in_the_plan(
    kube: Kube, namespace: str, path: tuple[str, ...], value: object, why: str
) -> None:
    """With its reason and what to do; the rest of the plan is there too."""
    kube.apply(a_namespace(namespace))
    objects = [changed(ray_service(namespace), path, value), config(namespace)]

    found = {change.ref.kind: change for change in plan(kube, objects)}

    assert found["RayService"].state == "refused"
    assert why in found["RayService"].note
    assert "fix:" in found["RayService"].note
    assert found["ConfigMap"].state == "created"


def test_a_new_release_is_checked_as_soon_as_its_namespace_is_there(
    kube: Kube, namespace: str
) -> None:
    """No server checks what is in a namespace that is not: the plan cannot, the apply does."""
    wrong = changed(ray_service(namespace), ("spec", "rayClusterConfigs"), {})
    objects = [a_namespace(namespace), config(namespace), wrong]
    assert set(states(kube, objects).values()) == {"created"}

    with pytest.raises(ObjectRefused, match="rayClusterConfigs: field not declared"):
        a_rollout(kube).apply(objects)

    assert kube.get(ref_of(objects[1])) is None


def test_fields_of_another_user_are_a_conflict(world: World, namespace: str) -> None:
    """Named with their owner; taken over only when asked to."""
    objects = [a_namespace(namespace), config(namespace, a="1")]
    put(world, objects, namespace)
    world.edit(ref_of(objects[1]), {"data": {"a": "theirs"}}, manager="their-tool")

    found = plan(world.kube, objects)[1]
    assert found.state == "conflict"
    assert ".data.a" in found.note
    assert "their-tool" in found.note
    with pytest.raises(FieldConflict, match="--force-conflicts"):
        world.kube.apply(objects[1])

    assert plan(world.kube, objects, force=True)[1].state == "changed"
    put(world, objects, namespace, force=True)
    live = world.kube.get(ref_of(objects[1]))
    assert live is not None
    assert live["data"] == {"a": "1"}


def test_what_others_added_stays(world: World, namespace: str) -> None:
    """Server-side apply touches what the manifests name, and nothing else."""
    objects = [a_namespace(namespace), config(namespace, a="1")]
    put(world, objects, namespace)
    world.edit(ref_of(objects[1]), {"data": {"theirs": "x"}})

    put(world, [objects[0], config(namespace, a="2")], namespace)

    live = world.kube.get(ref_of(objects[1]))
    assert live is not None
    assert live["data"] == {"a": "2", "theirs": "x"}
    assert FIELD_MANAGER in {
        text(one, "manager") for one in items(live, "metadata", "managedFields")
    }


def test_a_user_without_rights_learns_which_are_missing(
    api_server: ApiServer, kube: Kube, namespace: str
) -> None:
    """By the server's own judgement; and how to find out when they are there."""
    kube.apply(a_namespace(namespace))
    guest = connect(kubeconfig=api_server.user(f"guest-{namespace}", group="guests"))

    with pytest.raises(Forbidden, match=r"kubectl auth can-i patch rayservice\.ray\.io"):
        guest.apply(ray_service(namespace))
    guest.close()


def test_a_kind_that_is_not_known_stops_it_before_anything_is_applied(
    kube: Kube, namespace: str
) -> None:
    """Half an installation is useless; the error names the objects and the missing operator."""
    monitor = an_object("monitoring.coreos.com/v1", "ServiceMonitor", "m", namespace, spec={})
    objects = [a_namespace(namespace), monitor]

    with pytest.raises(MissingKinds, match="install the Prometheus operator") as refused:
        deploy(a_rollout(kube), objects, namespace=namespace, source="test")

    assert f"ServiceMonitor {namespace}/m" in str(refused.value)
    assert kube.get(ref_of(objects[0])) is None
    assert states(kube, objects)["ServiceMonitor"] == "refused"


def a_chart(name: str, **annotations: str) -> Json:
    """Return a chart that K3s installs."""
    chart = an_object("helm.cattle.io/v1", "HelmChart", name, "kube-system", spec={"chart": name})
    chart["metadata"] |= {"annotations": annotations}
    return chart


def test_a_kind_that_a_chart_brings_may_be_missing_yet(kube: Kube, namespace: str) -> None:
    """On a new cluster the operators' kinds come with the operators; no others do."""
    cron = an_object("ray.io/v1", "RayCronJob", "c", namespace, spec={})
    monitor = an_object("monitoring.coreos.com/v1", "ServiceMonitor", "m", namespace, spec={})

    found = {one.ref.kind: one for one in plan(kube, [a_chart("kuberay-operator"), cron, monitor])}

    assert found["RayCronJob"].state == "created"
    assert "operator" in found["RayCronJob"].note
    assert found["ServiceMonitor"].state == "refused"


def of_new_kind(namespace: str, group: str) -> tuple[list[Json], Ref]:
    """Return a release with an object of a kind that only its chart brings, and the chart's ref."""
    chart = a_chart(f"operator-{namespace}", **{"ray-pipeline/brings": group})
    widget = an_object(f"{group}/v1", "Widget", "w", namespace, spec={})
    return [a_namespace(namespace), chart, widget], ref_of(chart)


def test_kinds_that_come_late_are_waited_for(
    world: World, api_server: ApiServer, namespace: str
) -> None:
    """And the wait is reported, so that the terminal is not silent."""
    group = f"{namespace}.late.test"
    objects, chart = of_new_kind(namespace, group)
    said: list[str] = []

    def play() -> None:
        if any("waiting for the kinds" in line for line in said):
            api_server.define(f"{group}/v1", "Widget")
        elif world.kube.get(chart):
            world.make_ready(chart)

    deploy(
        a_rollout(world.kube, play, say=said.append), objects, namespace=namespace, source="test"
    )

    assert f"  ... waiting for the kinds Widget ({group}/v1)" in said
    assert world.kube.get(ref_of(objects[2])) is not None


def test_kinds_that_never_come_are_not_waited_for_until_the_end(
    world: World, namespace: str
) -> None:
    """A chart that is installed has brought its kinds already; its log tells what it did bring."""
    objects, chart = of_new_kind(namespace, f"{namespace}.never.test")
    rollout = a_rollout(world.kube, lambda: world.make_ready(chart), kinds_s=3.0)

    with pytest.raises(NotReady, match="should have brought them") as stuck:
        deploy(rollout, objects, namespace=namespace, source="test")

    assert f"kubectl logs -n kube-system job/helm-install-{chart.name}" in str(stuck.value)
    assert rollout.clock() < MOST_POLLS


@pytest.mark.parametrize("installed_first", [False, True])
def test_a_chart_that_cannot_be_installed_ends_the_wait(
    world: World, namespace: str, installed_first: bool
) -> None:
    """At once, whether K3s says so before or after it looked installed."""
    objects, chart = of_new_kind(namespace, f"{namespace}.failed.test")
    failed = {"type": "Failed", "status": "True", "reason": "Job failed", "message": "no retries"}
    said: list[str] = []

    def play() -> None:
        waiting = any("waiting for the kinds" in line for line in said)
        if installed_first and not waiting:
            world.make_ready(chart)
        else:
            world.report(chart, jobName=f"helm-install-{chart.name}", conditions=[failed])

    rollout = a_rollout(world.kube, play, say=said.append)
    with pytest.raises(NotReady, match="no retries") as stuck:
        deploy(rollout, objects, namespace=namespace, source="test")

    assert f"job/helm-install-{chart.name}" in str(stuck.value)
    assert rollout.clock() < MOST_POLLS


def test_a_chart_whose_job_has_not_begun_is_not_installed(world: World, namespace: str) -> None:
    """K3s creates the job suspended; its kinds are far away."""
    chart = a_chart(f"operator-{namespace}")
    work = an_object("batch/v1", "Job", f"helm-install-{chart['metadata']['name']}", "kube-system")
    work["spec"] = {"suspend": True}
    world.kube.apply(a_namespace("kube-system"))
    world.add(work)
    rollout = a_rollout(world.kube, lambda: world.make_ready(ref_of(chart)))

    with pytest.raises(NotReady, match="did not become ready in time"):
        deploy(rollout, [a_namespace(namespace), chart], namespace=namespace, source="test")


def test_a_namespace_that_does_not_exist_is_an_error(kube: Kube, namespace: str) -> None:
    """In the plan, and of an apply."""
    assert states(kube, [config(namespace)]) == {"ConfigMap": "refused"}
    with pytest.raises(MissingNamespace, match=f"kubectl create namespace {namespace}"):
        kube.apply(config(namespace))


def test_a_migration_of_a_new_image_is_replaced(world: World, namespace: str) -> None:
    """A Job's pods cannot be changed: the plan says so, and the apply replaces it."""
    objects = [a_namespace(namespace), job(namespace, image="app:1")]
    put(world, objects, namespace)
    before = world.kube.get(ref_of(objects[1]))
    newer = [objects[0], job(namespace, image="app:2")]

    assert states(world.kube, newer)["Job"] == "replaced"
    put(world, newer, namespace)

    after = world.kube.get(ref_of(objects[1]))
    assert after is not None
    assert before is not None
    assert text(after, "metadata", "uid") != text(before, "metadata", "uid")


def test_a_migration_that_failed_is_replaced(world: World, namespace: str) -> None:
    """Applying the same again after the cause is gone runs it again."""
    objects = [a_namespace(namespace), job(namespace)]
    failed = {"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded", "message": "no"}
    rollout = a_rollout(world.kube, lambda: world.report(ref_of(objects[1]), conditions=[failed]))
    with pytest.raises(NotReady, match="BackoffLimitExceeded") as refused:
        deploy(rollout, objects, namespace=namespace, source="test")
    assert "kubectl logs job/migrate" in str(refused.value)
    assert rollout.clock() < MOST_POLLS, "a failed Job is not waited for"
    assert revisions(world.kube, namespace)[-1].state == "failed"

    assert states(world.kube, objects)["Job"] == "replaced"
    put(world, objects, namespace)

    assert revisions(world.kube, namespace)[-1].state == "ready"


def test_missing_secrets_give_a_warning(kube: Kube, namespace: str) -> None:
    """Before anything is applied; with the command that makes them."""
    kube.apply(a_namespace(namespace))
    objects = [ray_service(namespace)]

    (warning,) = missing_secrets(kube, objects)
    assert "keys" in warning.what
    assert f"kubectl create secret generic keys -n {namespace}" in warning.fix

    kube.apply(an_object("v1", "Secret", "keys", namespace, stringData={"a": "b"}))
    assert missing_secrets(kube, objects) == []


def test_a_policy_that_keeps_pods_from_the_api_server_is_warned_of(
    world: World, namespace: str
) -> None:
    """Kafka would wait for it; servers with public addresses are not in the default ranges."""
    block = {"ipBlock": {"cidr": "10.0.0.0/8"}}
    policy = an_object(
        "networking.k8s.io/v1", "NetworkPolicy", "to-api", namespace,
        spec={"egress": [{"to": [block], "ports": [{"protocol": "TCP", "port": 6443}]}]},
    )  # fmt: skip
    policy["metadata"] |= {"annotations": {"ray-pipeline/reaches": "api-server"}}
    part = an_object(
        "discovery.k8s.io/v1", "EndpointSlice", f"kubernetes-{namespace}", "default",
        endpoints=[{"addresses": ["203.0.113.5"]}], ports=[{"name": "https", "port": 6443}],
    )  # fmt: skip
    part["metadata"] |= {"labels": {"kubernetes.io/service-name": "kubernetes"}}
    world.kube.apply(a_namespace("default"))
    assert api_server_cut_off(world.kube, [policy]) == []

    world.add(part)
    (warning,) = api_server_cut_off(world.kube, [policy])
    world.kube.delete(ref_of(part))

    assert "203.0.113.5:6443" in warning.why


def stuck_service(world: World, namespace: str, *happenings: Json) -> str:
    """Deploy a RayService with a cluster that never becomes healthy; return the error's text."""
    objects = [a_namespace(namespace), ray_service(namespace)]
    ref = ref_of(objects[1])
    told = iter(happenings)

    def play() -> None:
        world.report(ref, pendingServiceStatus={"rayClusterName": "pipeline-2"})
        for obj in told:
            world.add(obj)

    with pytest.raises(NotReady) as stuck:
        deploy(a_rollout(world.kube, play), objects, namespace=namespace, source="test")
    return str(stuck.value)


def a_pod(namespace: str, **status: object) -> Json:
    made = an_object("v1", "Pod", "pipeline-2-head", namespace, status=status)
    made["metadata"] |= {"labels": {"ray.io/cluster": "pipeline-2"}}
    return made


def test_a_stuck_rollout_names_the_image(world: World, namespace: str) -> None:
    """The cluster that never becomes healthy, the pod, the image, and what to do."""
    waiting = {"reason": "ImagePullBackOff", "message": "not found"}
    status = {"name": "ray-head", "image": "registry.example/app:9", "state": {"waiting": waiting}}

    told = stuck_service(world, namespace, a_pod(namespace, containerStatuses=[status]))

    assert "did not become ready in time" in told
    assert "image registry.example/app:9 cannot be pulled: not found" in told
    assert "fix: push the image" in told


def test_a_stuck_rollout_names_what_the_servers_lack(world: World, namespace: str) -> None:
    """The scheduler's own words, and the command that adds everything up."""
    placed = {
        "type": "PodScheduled", "status": "False", "reason": "Unschedulable",
        "message": "0/5 nodes are available: 5 Insufficient memory.",
    }  # fmt: skip

    told = stuck_service(world, namespace, a_pod(namespace, conditions=[placed]))

    assert "5 Insufficient memory" in told
    assert "ray-pipeline deploy sizing" in told


def test_a_stuck_rollout_names_the_quota(world: World, namespace: str) -> None:
    """Pods that are not even created leave an event at what should have made them."""
    event = an_object(
        "v1", "Event", "e1", namespace, reason="FailedToCreateHeadPod",
        message='pods "pipeline-2-head" is forbidden: exceeded quota: small, requested: cpu=1',
        involvedObject={"kind": "RayCluster", "name": "pipeline-2"},
    )  # fmt: skip

    told = stuck_service(world, namespace, event)

    assert "exceeded quota: small" in told
    assert "raise the ResourceQuota" in told


def test_what_takes_long_is_explained_while_waiting(world: World, namespace: str) -> None:
    """Once, not at every look."""
    objects = [a_namespace(namespace), *kafka(namespace)]
    not_ready = {
        "type": "NotReady", "status": "True", "reason": "InvalidResourceException",
        "message": "No KafkaNodePools found",
    }  # fmt: skip
    kafka_ref = ref_of(objects[-1])
    said: list[str] = []
    rollout = a_rollout(
        world.kube, lambda: world.report(kafka_ref, conditions=[not_ready]), say=said.append
    )

    with pytest.raises(NotReady):
        deploy(rollout, objects, namespace=namespace, source="test")

    about_kafka = [line for line in said if "still waiting; Kafka kafka" in line]
    assert len(about_kafka) == 1
    assert "strimzi.io/cluster" in about_kafka[0]


def test_no_operator_is_told_apart_from_a_slow_one(kube: Kube, namespace: str) -> None:
    """No operator has written a status: waiting longer cannot help."""
    objects = [a_namespace(namespace), ray_service(namespace)]

    with pytest.raises(NotReady, match="kuberay-operator does not run"):
        deploy(a_rollout(kube), objects, namespace=namespace, source="test")


def test_a_rollback_brings_back_what_was(world: World, namespace: str) -> None:
    """As a new revision; what only the newer one had is gone."""
    first = [a_namespace(namespace), config(namespace, a="1")]
    more = an_object("v1", "ConfigMap", "more", namespace, data={"b": "1"})
    put(world, first, namespace)
    put(world, [first[0], config(namespace, a="2"), more], namespace)

    wanted = target(revisions(world.kube, namespace), None)
    put(world, list(wanted.objects), namespace)

    live = world.kube.get(ref_of(first[1]))
    assert live is not None
    assert live["data"] == {"a": "1"}
    assert world.kube.get(ref_of(more)) is None
    assert [one.number for one in revisions(world.kube, namespace)] == [1, 2, 3]


def test_a_rollback_skips_what_never_was_ready(world: World, namespace: str) -> None:
    """And says so where nothing is left."""
    good = [a_namespace(namespace), config(namespace, a="1")]
    bad = [good[0], ray_service(namespace)]
    with pytest.raises(NotReady):
        deploy(a_rollout(world.kube), bad, namespace=namespace, source="test")
    with pytest.raises(PipelineError, match="have 1 \\(failed\\)"):
        target(revisions(world.kube, namespace), None)

    put(world, good, namespace)
    with pytest.raises(NotReady):
        deploy(a_rollout(world.kube), bad, namespace=namespace, source="test")

    assert target(revisions(world.kube, namespace), None).number == 2


def test_what_holds_data_outlives_its_manifest(world: World, namespace: str) -> None:
    """A topic that was left out is not deleted; a ConfigMap is."""
    objects = [a_namespace(namespace), *kafka(namespace), config(namespace)]
    put(world, objects, namespace)
    fewer = objects[:1]
    last, _ = current(world.kube, namespace)

    planned = {one.ref.kind: one for one in plan(world.kube, fewer, dropped(last, fewer))}
    assert planned["ConfigMap"].state == "removed"
    assert planned["KafkaTopic"].state == "unchanged"
    assert "left where it is" in planned["KafkaTopic"].note

    put(world, fewer, namespace)
    there = {ref_of(obj).kind for obj in objects if world.kube.get(ref_of(obj)) is not None}
    assert there == {"Namespace", "Kafka", "KafkaNodePool", "KafkaTopic"}


def test_only_the_newest_revisions_are_kept(world: World, namespace: str) -> None:
    """Ten are enough to go back."""
    for number in range(KEPT + 2):
        put(world, [a_namespace(namespace), config(namespace, a=str(number))], namespace)

    assert [one.number for one in revisions(world.kube, namespace)] == list(range(3, KEPT + 3))


def test_a_delete_leaves_what_was_collected(world: World, namespace: str) -> None:
    """Claims and the namespace stay, unless data is to go too."""
    claim = an_object("v1", "PersistentVolumeClaim", "data-kafka-0", namespace, spec={})
    claim["metadata"] |= {"labels": {"strimzi.io/cluster": "kafka"}}
    objects = release(namespace)
    put(world, objects, namespace)
    world.add(claim)

    left = undeploy(a_rollout(world.kube), namespace=namespace, data=False)

    assert {ref.kind for ref in left} == {"Namespace", "PersistentVolumeClaim"}
    assert world.kube.get(ref_of(claim)) is not None
    gone = [world.kube.get(ref_of(obj)) for obj in objects if ref_of(obj).kind != "Namespace"]
    assert gone == [None] * len(gone)

    put(world, objects, namespace)
    undeploy(a_rollout(world.kube), namespace=namespace, data=True)
    assert world.kube.get(ref_of(claim)) is None
    assert world.kube.get(ref_of(a_namespace(namespace))) is None


def test_a_delete_goes_backwards(world: World, namespace: str) -> None:
    """Ray is gone before its Kafka goes, and a finalizer without an operator is explained."""
    objects = release(namespace)
    put(world, objects, namespace)
    service = ref_of(objects[0])
    world.edit(service, {"metadata": {"finalizers": ["ray.io/cleanup"]}})

    with pytest.raises(NotReady, match=r"waits for ray\.io/cleanup"):
        undeploy(a_rollout(world.kube), namespace=namespace, data=False)
    assert world.kube.get(ref_of(objects[3])) is not None, "Kafka is there while Ray is"

    world.edit(service, {"metadata": {"finalizers": None}})
    undeploy(a_rollout(world.kube), namespace=namespace, data=False)
    assert revisions(world.kube, namespace) == []


def test_a_status_tells_why_something_is_not_ready(world: World, namespace: str) -> None:
    """Object by object, for what is deployed now."""
    objects = [a_namespace(namespace), config(namespace), ray_service(namespace)]
    put(world, objects, namespace)
    last, _ = current(world.kube, namespace)
    assert {one.readiness.state for one in statuses(world.kube, last)} == {"ready"}

    unwell = {"status": "UNHEALTHY", "message": "no data for 300 s"}
    active = {"rayClusterName": "pipeline-1", "applicationStatuses": {"supervisor": unwell}}
    world.report(ref_of(objects[2]), activeServiceStatus=active)
    world.kube.delete(ref_of(objects[1]))

    found = {one.ref.kind: one for one in statuses(world.kube, last)}
    assert found["ConfigMap"].readiness.state == "missing"
    assert found["RayService"].readiness.state == "waiting"
    assert any("no data for 300 s" in finding.why for finding in found["RayService"].findings)
