"""What pods ask for, added up, and whether servers have it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ray_pipeline.kubernetes.deploy.objects import Json
from ray_pipeline.kubernetes.deploy.sizing import (
    GIB,
    MIB,
    Need,
    Server,
    cache_need_of,
    fit,
    maxmemory_bytes,
    needs,
    quantity,
    servers,
)


def container(cpu: str, memory: str, **more: object) -> Json:
    return {"name": "c", "resources": {"requests": {"cpu": cpu, "memory": memory}}} | more


def pod(*containers: Json, before: tuple[Json, ...] = ()) -> Json:
    return {"template": {"spec": {"containers": list(containers), "initContainers": list(before)}}}


def an_object(kind: str, spec: Json) -> Json:
    return {"apiVersion": "v1", "kind": kind, "metadata": {"name": "a"}, "spec": spec}


@pytest.mark.parametrize(
    ("written", "number"),
    [("250m", 0.25), ("2", 2), (2, 2), ("1.5", 1.5), ("512Mi", 512 * MIB), ("2Gi", 2 * GIB),
     ("1G", 10**9), ("100k", 10**5), (None, 0), ("", 0)],
)  # fmt: skip
def test_quantities_are_read(written: object, number: float) -> None:
    """As Kubernetes does."""
    assert quantity(written) == pytest.approx(number)


def test_containers_add_up_and_the_hungriest_beginner_counts() -> None:
    """What runs before the containers runs alone; a sidecar runs with them."""
    sidecar = container("50m", "64Mi", restartPolicy="Always")
    beginner = container("2", "100Mi")
    spec = pod(container("100m", "256Mi"), container("1", "1Gi"), before=(sidecar, beginner))

    (found,) = needs([an_object("Deployment", {"replicas": 3} | spec)])

    assert (found.pods, found.cpu_m, found.memory_bytes) == (3, 2_000, (256 + 1024 + 64) * MIB)


def test_a_limit_is_the_request_where_there_is_none() -> None:
    """As Kubernetes fills it in."""
    limited = {"name": "c", "resources": {"limits": {"cpu": "1", "memory": "1Gi"}}}

    (found,) = needs([an_object("StatefulSet", pod(limited))])

    assert (found.cpu_m, found.memory_bytes) == (1_000, GIB)


def ray_cluster(workers: int) -> Json:
    template = pod(container("1", "2Gi"))
    group = {"groupName": "collectors", "replicas": workers} | template
    return {"headGroupSpec": template, "workerGroupSpecs": [group]}


def test_a_ray_service_needs_itself_twice_in_an_upgrade() -> None:
    """The next cluster must be healthy before the old one goes."""
    found = needs([an_object("RayService", {"rayClusterConfig": ray_cluster(3)})])

    always = sum(need.pods for need in found if need.when == "always")
    upgrade = sum(need.pods for need in found if need.when == "upgrade")
    assert (always, upgrade) == (4, 4)


def test_a_ray_cluster_needs_itself_once() -> None:
    """It is recreated in place."""
    found = needs([an_object("RayCluster", ray_cluster(2))])

    assert sum(need.pods for need in found) == 3
    assert {need.when for need in found} == {"always"}


def test_kafka_is_its_pools_and_its_operators() -> None:
    """The Kafka object itself requests the entity operator only."""
    operator = {"resources": {"requests": {"cpu": "100m", "memory": "256Mi"}}}
    kafka = {"kafka": {}, "entityOperator": {"topicOperator": operator, "userOperator": operator}}
    pool = {"replicas": 3, "resources": {"requests": {"cpu": "500m", "memory": "1536Mi"}}}

    found = needs([an_object("Kafka", kafka), an_object("KafkaNodePool", pool)])

    assert [(need.pods, need.cpu_m, need.memory_bytes // MIB) for need in found] == [
        (1, 200, 512),
        (3, 500, 1536),
    ]


def test_a_chart_asks_for_what_its_values_say() -> None:
    """Without values, for what its authors wrote."""
    values = "resources:\n  requests: {cpu: 50m, memory: 128Mi}\n"
    chart = {"chart": "kuberay-operator"}

    found = needs([
        an_object("HelmChart", chart),
        an_object("HelmChart", chart | {"valuesContent": values}),
    ])  # fmt: skip

    assert [need.memory_bytes // MIB for need in found] == [512, 128]


def test_runs_are_told_apart_from_what_always_runs() -> None:
    """A backup at night does not need its memory all day."""
    job = an_object("Job", pod(container("1", "1Gi")))
    night = an_object("CronJob", {"jobTemplate": {"spec": pod(container("1", "1Gi"))}})

    assert [need.when for need in needs([job, night])] == ["upgrade", "run"]


def test_a_pod_that_no_server_has_room_for_is_named() -> None:
    """Twenty GB free in all do not help a pod of three."""
    small = [Server(str(place), 4_000, 2 * GIB) for place in range(10)]

    found = fit([Need("big", 1, 100, 3 * GIB), Need("cpu", 1, 5_000, MIB)], small)

    assert set(found.unschedulable) == {"big", "cpu"}


@given(
    st.lists(
        st.tuples(st.integers(1, 4), st.integers(0, 5_000), st.integers(0, 9 * GIB)), max_size=15
    )
)
def test_no_server_is_ever_overbooked(sizes: list[tuple[int, int, int]]) -> None:
    """Every pod is placed once, or named as unschedulable."""
    wanted = [Need(str(n), pods, cpu, size) for n, (pods, cpu, size) in enumerate(sizes)]

    found = fit(wanted, servers())

    assert all(one.cpu_m >= 0 and one.memory_bytes >= 0 for one in found.left)
    taken = sum(one.memory_bytes for one in servers()) - sum(one.memory_bytes for one in found.left)
    lost = sum(wanted[int(name)].memory_bytes for name in found.unschedulable)
    assert taken + lost == sum(need.all_memory_bytes for need in wanted)


@pytest.mark.parametrize(
    ("argument", "expected"),
    [
        ("--maxmemory 192mb", 192 * 2**20),
        ("--maxmemory=1gb", 2**30),
        ("--maxmemory 1000", 1000),
        ("--maxmemory-policy noeviction", 0),
    ],
)
def test_the_memory_of_redis_is_read_from_its_command(argument, expected):
    """`maxmemory-policy` is another option."""
    container = {"args": [f"exec valkey-server --appendonly yes {argument}"]}
    redis = {
        "kind": "StatefulSet",
        "metadata": {"name": "redis"},
        "spec": {"template": {"spec": {"containers": [container]}}},
    }

    assert maxmemory_bytes([redis]) == expected
    assert maxmemory_bytes([]) == 0


def test_latest_values_are_sized_with_the_settings_of_the_manifests():
    settings = {
        "kind": "ConfigMap",
        "metadata": {"name": "pipeline-settings"},
        "data": {"PIPELINE_REDIS__BUDGET_MB": "64"},
    }

    assert cache_need_of([settings], symbols=10).budget_bytes == 64_000_000
    assert cache_need_of([], symbols=10).budget_bytes == 128_000_000
