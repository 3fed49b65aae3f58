"""A delete stops what produces first, and waits for pods; it may be interrupted and repeated."""

import pytest

from ray_pipeline.kubernetes.deploy.installation import (
    deploy,
    removal_command,
    revisions,
    undeploy,
)
from ray_pipeline.kubernetes.deploy.objects import Json, Ref, ref_of
from ray_pipeline.kubernetes.deploy.rollout import NotReady
from tests.k8s.test_deploy import a_rollout, put
from tests.k8s.world import (
    World,
    a_namespace,
    an_object,
    kafka,
    pod_template,
    ray_cluster,
    ray_pods,
    ray_service,
    release,
)

FINALIZER = "ray.io/gcs-ft-redis-cleanup-finalizer"
FEW_POLLS = 8.0


def redis(namespace: str) -> Json:
    """Return the Redis of the head's state."""
    spec = {
        "replicas": 3, "selector": {"matchLabels": {"app": "gcs-redis"}},
        "template": pod_template(),
    }  # fmt: skip
    return an_object("apps/v1", "StatefulSet", "gcs-redis", namespace, spec=spec)


@pytest.fixture
def cluster(world: World, namespace: str) -> Json:
    """The cluster of a RayService that is installed with Kafka and the head's Redis."""
    objects = [a_namespace(namespace), *kafka(namespace), redis(namespace), ray_service(namespace)]
    put(world, objects, namespace)
    made = ray_cluster(namespace, "pipeline-aaaaa")
    made["metadata"] |= {
        "labels": {"ray.io/originated-from-cr-name": "pipeline"}, "finalizers": [FINALIZER],
    }  # fmt: skip
    world.add(made)
    for pod in ray_pods(made):
        pod["metadata"] |= {"finalizers": ["test/drains"]}
        world.add(pod)
    return made


def present(world: World, namespace: str) -> set[str]:
    refs = [
        *map(ref_of, kafka(namespace)), ref_of(redis(namespace)), ref_of(ray_service(namespace)),
    ]  # fmt: skip
    return {ref.kind for ref in refs if world.kube.get(ref) is not None}


def drained(world: World, pod: Ref) -> None:
    """End a pod, as the kubelet does when its containers have ended."""
    world.edit(pod, {"metadata": {"finalizers": None}})
    world.kube.delete(pod)


def test_stores_live_until_ray_is_gone(world: World, namespace: str, cluster: Json) -> None:
    """Head and workers flush into Kafka and Postgres; KubeRay empties the head's Redis."""
    head, worker = map(ref_of, ray_pods(cluster))
    stores = {"Kafka", "KafkaNodePool", "KafkaTopic", "StatefulSet"}
    seen: list[tuple[int, set[str]]] = []

    def play() -> None:
        """Let the garbage collector, the kubelet and KubeRay do one step each."""
        turn = len(seen)
        seen.append((turn, present(world, namespace)))
        if turn == 0:
            world.kube.delete(ref_of(cluster))
        if turn == 1:
            drained(world, head)
        if turn == 2:
            world.edit(ref_of(cluster), {"metadata": {"finalizers": None}})
        if turn == 3:
            drained(world, worker)

    said: list[str] = []
    undeploy(a_rollout(world.kube, play, say=said.append), namespace=namespace, data=False)

    assert [kinds for turn, kinds in seen if turn <= 3] == [stores] * 4
    assert present(world, namespace) == set()
    assert any(f"waits for RayCluster {cluster['metadata']['name']}, Pod" in line for line in said)


def test_pods_that_do_not_end_are_named(world: World, namespace: str, cluster: Json) -> None:
    """With their node, and the command for a node that is gone; the stores stay meanwhile."""
    worker = ref_of(ray_pods(cluster)[1])
    for pod in ray_pods(cluster):
        world.edit(ref_of(pod), {"spec": {"nodeName": "node-3"}})
    world.kube.delete(worker)
    rollout = a_rollout(world.kube, deadline_s=FEW_POLLS)

    with pytest.raises(NotReady, match="did not become gone in time") as stuck:
        undeploy(rollout, namespace=namespace, data=False)

    assert f"RayCluster {namespace}/pipeline-aaaaa" in str(stuck.value)
    assert f"Pod {namespace}/pipeline-aaaaa-worker" in str(stuck.value)
    assert "still runs, although its owner is deleted" in str(stuck.value)
    assert "Kafka" in present(world, namespace)
    assert revisions(world.kube, namespace) != []


def test_a_repeated_delete_waits_for_what_an_earlier_one_left(
    world: World, namespace: str, cluster: Json
) -> None:
    """The RayService is gone by then; its cluster and pods are found by their labels."""
    with pytest.raises(NotReady):
        undeploy(a_rollout(world.kube, deadline_s=2.0), namespace=namespace, data=False)
    assert world.kube.get(ref_of(ray_service(namespace))) is None

    with pytest.raises(NotReady, match="pipeline-aaaaa"):
        undeploy(a_rollout(world.kube, deadline_s=2.0), namespace=namespace, data=False)
    assert "Kafka" in present(world, namespace)

    world.kube.delete(ref_of(cluster))
    world.edit(ref_of(cluster), {"metadata": {"finalizers": None}})
    for pod in ray_pods(cluster):
        drained(world, ref_of(pod))
    undeploy(a_rollout(world.kube), namespace=namespace, data=False)
    assert present(world, namespace) == set()


def test_a_cluster_without_its_redis_can_be_released(
    world: World, namespace: str, cluster: Json
) -> None:
    """KubeRay's finalizer needs the head's Redis; the error has the command without it."""
    for pod in ray_pods(cluster):
        drained(world, ref_of(pod))
    world.kube.delete(ref_of(cluster))

    with pytest.raises(NotReady, match=FINALIZER) as stuck:
        undeploy(a_rollout(world.kube, deadline_s=2.0), namespace=namespace, data=False)

    assert "kubectl patch raycluster pipeline-aaaaa" in str(stuck.value)


def test_what_is_left_is_told_with_the_command_that_deletes_it(
    world: World, namespace: str
) -> None:
    """Claims, the namespace, and the secrets that no manifest has."""
    claim = an_object("v1", "PersistentVolumeClaim", "data-kafka-0", namespace, spec={})
    claim["metadata"] |= {"labels": {"strimzi.io/cluster": "kafka"}}
    secret = an_object("v1", "Secret", "pipeline-secrets", namespace, stringData={"a": "b"})
    put(world, release(namespace), namespace)
    world.add(claim)
    world.add(secret)

    left = undeploy(a_rollout(world.kube), namespace=namespace, data=False)

    assert left == sorted(map(ref_of, (a_namespace(namespace), claim, secret)))
    assert removal_command(left, namespace) == f"kubectl delete namespace {namespace}"
    assert removal_command(left[1:], namespace) == (
        f"kubectl delete -n {namespace} persistentvolumeclaim/data-kafka-0 secret/pipeline-secrets"
    )
    assert removal_command([], namespace) == ""


def test_a_job_ends_before_its_topics(world: World, namespace: str) -> None:
    """Its pods are waited for, though the Job itself is gone at once."""
    objects = [a_namespace(namespace), *kafka(namespace)]
    cron = an_object("batch/v1", "CronJob", "backup", namespace, spec={})
    put(world, [*objects, cron], namespace)
    pod = an_object("v1", "Pod", "backup-29400000-x", namespace)
    pod["metadata"] |= {"labels": {"job-name": "backup-29400000"}}
    world.add(pod)

    with pytest.raises(NotReady, match="backup-29400000-x"):
        undeploy(a_rollout(world.kube, deadline_s=2.0), namespace=namespace, data=False)
    assert world.kube.get(ref_of(kafka(namespace)[0])) is not None

    world.kube.delete(ref_of(pod))
    undeploy(a_rollout(world.kube), namespace=namespace, data=False)
    assert world.kube.get(ref_of(kafka(namespace)[0])) is None


def test_objects_that_a_failed_apply_created_are_deleted(world: World, namespace: str) -> None:
    """A revision that failed lists them."""
    with pytest.raises(NotReady):
        deploy(
            a_rollout(world.kube, deadline_s=2.0),
            [a_namespace(namespace), redis(namespace)], namespace=namespace, source="test",
        )  # fmt: skip

    undeploy(a_rollout(world.kube), namespace=namespace, data=False)

    assert world.kube.get(ref_of(redis(namespace))) is None
