"""In which order objects are applied."""

import pytest

from ray_pipeline.errors import ConfigurationError
from ray_pipeline.kubernetes.deploy.objects import Json
from ray_pipeline.kubernetes.deploy.order import ANNOTATION, KEPT, REST, wave_of, waves


def an_object(kind: str, name: str = "a") -> Json:
    return {"apiVersion": "v1", "kind": kind, "metadata": {"name": name}}


@pytest.mark.parametrize(
    ("first", "then"),
    [
        ("Namespace", "HelmChart"),
        ("HelmChart", "Secret"),
        ("Secret", "ConfigMap"),
        ("ConfigMap", "StatefulSet"),
        ("StatefulSet", "Kafka"),
        ("Kafka", "KafkaTopic"),
        ("KafkaUser", "Job"),
        ("Job", "RayService"),
        ("RayCluster", "PodMonitor"),
        ("RayService", "Ingress"),
        ("RayCluster", "Deployment"),
        ("RayService", "CronJob"),
        ("Certificate", "StatefulSet"),
        ("ExternalSecret", "StatefulSet"),
    ],
)
def test_what_others_need_comes_first(first: str, then: str) -> None:
    """Whatever the order of the manifests."""
    assert wave_of(first) < wave_of(then)


def test_waves_hold_every_object_once() -> None:
    """In the order given within a wave; what has no place of its own comes last."""
    kinds = ["Ingress", "RayService", "Secret", "PodMonitor", "Job", "Secret"]
    objects = [an_object(kind, str(place)) for place, kind in enumerate(kinds)]

    found = waves(objects)

    assert [obj for wave in found for obj in wave.objects] == [
        objects[place] for place in (2, 5, 4, 1, 0, 3)
    ]
    assert found[-1].name == REST


@pytest.mark.parametrize("kind", ["Namespace", "PersistentVolumeClaim", "Kafka", "KafkaTopic"])
def test_what_holds_data_is_kept(kind: str) -> None:
    """Leaving it out of the manifests must not delete what was collected."""
    assert kind in KEPT


HEAD = "ray-pipeline-head-svc"


def a_workload(
    kind: str = "Deployment",
    name: str = "app",
    *,
    value: str = "",
    script: str = "",
    claim: str = "",
    secret: str = "",
    settings: str = "",
    wave: str = "",
) -> Json:
    """Return a workload with a pod that names its dependency in one of the usual ways."""
    key = {"secretKeyRef": {"name": secret, "key": "password"}}
    env: list[Json] = [{"name": "ADDRESS", "value": value}] if value else []
    env += [{"name": "PASSWORD", "valueFrom": key}] if secret else []
    container = {
        "name": "c", "image": "redis:7", "env": env, "args": ["-c", script],
        "envFrom": [{"configMapRef": {"name": settings}}] if settings else [],
    }  # fmt: skip
    volume = {"name": "data", "persistentVolumeClaim": {"claimName": claim}}
    spec = {"containers": [container], "volumes": [volume] if claim else []}
    template = {"metadata": {"labels": {"app": name}}, "spec": spec}
    metadata = {"name": name, "namespace": "ns", "annotations": {ANNOTATION: wave} if wave else {}}
    return {"apiVersion": "v1", "kind": kind, "metadata": metadata, "spec": {"template": template}}


def a_service(name: str, app: str) -> Json:
    """Return the Service of a workload."""
    metadata = {"name": name, "namespace": "ns"}
    spec = {"selector": {"app": app}}
    return {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec}


def of_operator(kind: str, name: str, **spec: object) -> Json:
    """Return an object of KubeRay or Strimzi."""
    metadata = {"name": name, "namespace": "ns"}
    return {"apiVersion": "x/v1", "kind": kind, "metadata": metadata, "spec": spec}


RAY = of_operator("RayCluster", "ray-pipeline")
USER = of_operator("KafkaUser", "reader")


def wave_names(*objects: Json) -> dict[str, str]:
    """Return the name of the wave of each object, by the object's name."""
    return {obj["metadata"]["name"]: wave.name for wave in waves(objects) for obj in wave.objects}  # type: ignore[index]


@pytest.mark.parametrize("kind", ["Deployment", "DaemonSet", "StatefulSet", "Job"])
@pytest.mark.parametrize(
    "words",
    [
        {"value": f"http://{HEAD}:8265"},
        {"value": HEAD},
        {"value": f"ray://{HEAD}.ns.svc.cluster.local:10001"},
        {"script": f"until nc -z {HEAD} 8265; do sleep 1; done"},
        {"script": f"until nslookup {HEAD}; do sleep 1; done"},
    ],
)
def test_a_client_of_ray_is_applied_after_ray(kind: str, words: dict[str, str]) -> None:
    """Before Ray it would never be ready, and Ray would wait for it: whatever its kind is."""
    found = [wave.name for wave in waves([a_workload(kind, **words), RAY])]

    assert found.index("Ray") == 0
    assert len(found) == 2


def test_an_address_in_a_config_map_counts_too() -> None:
    """Settings are seldom written into the pod itself."""
    settings = an_object("ConfigMap", "settings") | {"data": {"RAY": f"{HEAD}:8265"}}
    settings["metadata"] = {"name": "settings", "namespace": "ns"}

    found = wave_names(a_workload("StatefulSet", settings="settings"), settings, RAY)

    assert found["app"] == "applications"


@pytest.mark.parametrize(
    "value", ["http://other-ray-pipeline-head-svc:8265", f"http://{HEAD}.elsewhere:8265", "x"]
)
def test_another_host_is_no_need(value: str) -> None:
    """A store that is applied too late holds everything else up."""
    assert wave_names(a_workload("StatefulSet", value=value), RAY)["app"] == "stores"


def test_a_reader_of_a_users_secret_is_applied_after_the_user() -> None:
    """Strimzi writes the Secret; without it the pod does not start."""
    found = wave_names(a_workload("StatefulSet", secret="reader"), USER, RAY)

    assert (found["reader"], found["app"]) == ("topics and users", "migration")


def test_a_deployment_that_holds_data_is_a_store() -> None:
    """What mounts a claim is needed by others more often than it needs them."""
    assert wave_names(a_workload(claim="data"))["app"] == "stores"


def test_a_deployment_that_an_earlier_object_names_is_a_store() -> None:
    """The migration would fail without it; so would it without what the Deployment needs itself."""
    found = wave_names(
        a_workload("Job", "migrate", value="postgresql://user:word@pool/db"),
        a_workload(name="pool", value="database:5432"),
        a_workload(name="database"),
        a_workload(name="page", value="postgresql://pool/db"),
        a_service("pool", "pool"),
        a_service("database", "database"),
    )

    assert (found["database"], found["pool"]) == ("stores", "stores")
    assert (found["migrate"], found["page"]) == ("migration", "applications")


def test_a_job_waits_for_an_application_that_waits_for_ray() -> None:
    """Needs are followed to their end."""
    found = wave_names(
        a_workload("Job", "smoke-test", value="http://page:80"),
        a_workload(name="page", value=f"http://{HEAD}:8000"),
        a_service("page", "page"),
        RAY,
    )

    assert found["page"] == "applications"
    assert found["smoke-test"] == REST


def test_two_that_need_each_other_end() -> None:
    """Neither can be first; both are applied."""
    objects = [
        a_workload("StatefulSet", "a", value="http://b:1"),
        a_workload("Job", "b", value="http://a:1"),
        a_service("a", "a"),
        a_service("b", "b"),
    ]

    assert sum(len(wave.objects) for wave in waves(objects)) == 4


def test_an_annotation_decides() -> None:
    """For what manifests do not tell, such as an address in a Secret made by hand."""
    assert wave_names(a_workload(wave="stores"))["app"] == "stores"
    assert wave_names(a_workload("StatefulSet", wave="applications"))["app"] == "applications"


def test_a_wave_that_does_not_exist_is_an_error() -> None:
    """With the names of those that do."""
    with pytest.raises(ConfigurationError, match="storage") as refused:
        waves([a_workload(wave="storage")])

    assert "stores" in refused.value.fix
