"""A small installation, and helpers that act as the operators, which do not run here."""

import copy
from dataclasses import dataclass, field

from ray_pipeline.kubernetes.deploy.kube import Kube
from ray_pipeline.kubernetes.deploy.objects import Json, Ref, number, ref_of
from tests.k8s.apiserver import ApiServer

RAY = "ray.io/v1"
KAFKA = "kafka.strimzi.io/v1"
IMAGE = "registry.example/ray-pipeline:1"


def an_object(api_version: str, kind: str, name: str, namespace: str, **fields: object) -> Json:
    """Return an object of any kind."""
    metadata = {"name": name} | ({"namespace": namespace} if namespace else {})
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata} | fields


def pod_template(image: str = IMAGE, **variables: str) -> Json:
    """Return a pod that reads a secret."""
    key = {"secretKeyRef": {"name": "keys", "key": "keys.json"}}
    env: list[Json] = [{"name": "PIPELINE_API_KEYS", "valueFrom": key}]
    env += [{"name": name, "value": value} for name, value in variables.items()]
    return {"spec": {"containers": [{"name": "app", "image": image, "env": env}]}}


def ray_spec(*, image: str = IMAGE, workers: int = 1, generation: int = 1) -> Json:
    """Return the spec of a RayCluster that the schema accepts."""
    template = pod_template(image, PIPELINE_RAY__GENERATION=str(generation))
    group = {
        "groupName": "collectors", "replicas": workers, "minReplicas": 0, "maxReplicas": 5,
        "rayStartParams": {}, "template": template,
    }  # fmt: skip
    return {
        "rayVersion": "2.60.0",
        "headGroupSpec": {"rayStartParams": {"num-cpus": "0"}, "template": template},
        "workerGroupSpecs": [group],
    }


def ray_service(
    namespace: str,
    *,
    image: str = IMAGE,
    workers: int = 1,
    generation: int = 1,
    serve: str = "applications: []\n",
) -> Json:
    """Return a RayService that the schema accepts."""
    cluster = ray_spec(image=image, workers=workers, generation=generation)
    spec = {"serveConfigV2": serve, "rayClusterConfig": cluster}
    return an_object(RAY, "RayService", "pipeline", namespace, spec=spec)


def ray_cluster(namespace: str, name: str = "pipeline", **options: int) -> Json:
    """Return a RayCluster that the schema accepts."""
    return an_object(RAY, "RayCluster", name, namespace, spec=ray_spec(**options))


def ray_pods(cluster: Json) -> list[Json]:
    """Return the head and a worker of a RayCluster, as KubeRay makes them."""
    name, namespace = cluster["metadata"]["name"], cluster["metadata"]["namespace"]
    pods = []
    for kind, template in (
        ("head", cluster["spec"]["headGroupSpec"]["template"]),
        ("worker", cluster["spec"]["workerGroupSpecs"][0]["template"]),
    ):
        pod = an_object("v1", "Pod", f"{name}-{kind}", namespace, spec=template["spec"])
        group = "headgroup" if kind == "head" else "collectors"
        labels = {"ray.io/cluster": name, "ray.io/node-type": kind, "ray.io/group": group}
        pod["metadata"] |= {"labels": labels}
        pods.append(pod)
    return pods


def operator_pod(namespace: str, *, ready_since: str = "2026-01-01T00:00:00Z") -> Json:
    """Return the pod of the KubeRay operator."""
    ready = {"type": "Ready", "status": "True", "lastTransitionTime": ready_since}
    pod = an_object("v1", "Pod", "kuberay-operator", namespace, status={"conditions": [ready]})
    pod["metadata"] |= {"labels": {"app.kubernetes.io/name": "kuberay-operator"}}
    return pod


def kafka(namespace: str) -> list[Json]:
    """Return a Kafka with one node pool and one topic."""
    listeners = [{"name": "plain", "port": 9092, "type": "internal", "tls": False}]
    labels = {"labels": {"strimzi.io/cluster": "kafka"}}
    pool = an_object(
        KAFKA, "KafkaNodePool", "brokers", namespace,
        spec={"replicas": 1, "roles": ["controller", "broker"], "storage": {"type": "ephemeral"}},
    )  # fmt: skip
    topic = an_object(KAFKA, "KafkaTopic", "trades", namespace, spec={"partitions": 3})
    for one in (pool, topic):
        one["metadata"] |= labels
    spec = {"kafka": {"listeners": listeners}}
    return [topic, pool, an_object(KAFKA, "Kafka", "kafka", namespace, spec=spec)]


def job(namespace: str, *, image: str = IMAGE) -> Json:
    """Return the migration."""
    return an_object(
        "batch/v1", "Job", "migrate", namespace, spec={"template": pod_template(image)}
    )


def config(namespace: str, **data: str) -> Json:
    """Return a ConfigMap."""
    return an_object("v1", "ConfigMap", "settings", namespace, data=data or {"a": "1"})


def a_namespace(name: str) -> Json:
    """Return a namespace."""
    return an_object("v1", "Namespace", name, "")


def release(namespace: str) -> list[Json]:
    """Return a whole release, in no order."""
    keys = an_object("v1", "Secret", "keys", namespace, stringData={"keys.json": "{}"})
    return [
        ray_service(namespace), *kafka(namespace), job(namespace), config(namespace), keys,
        a_namespace(namespace),
    ]  # fmt: skip


@dataclass(slots=True)
class World:
    """The cluster as the operators, the kubelet and other people see it."""

    kube: Kube
    server: ApiServer
    seen: list[tuple[str, ...]] = field(default_factory=list)

    def add(self, obj: Json) -> Json:
        """Create an object as another user."""
        ref = ref_of(obj)
        path, _, _ = self._path(ref).rpartition("/")
        return self.server.call("POST", f"{path}?fieldManager=another-user", obj)

    def edit(self, ref: Ref, patch: Json, *, manager: str = "another-user") -> Json:
        """Change an object as another user."""
        path = f"{self._path(ref)}?fieldManager={manager}"
        return self.server.call("PATCH", path, patch, content="application/merge-patch+json")

    def report(self, ref: Ref, **status: object) -> None:
        """Write an object's status, for its present generation."""
        live = self.kube.get(ref)
        assert live is not None
        # A stand-in has no status of its own: writing one makes a new generation.
        stands_in = "." not in ref.api_version
        generation = number(live, "metadata", "generation") + stands_in
        told = {"status": {"observedGeneration": generation} | status}
        path = self._path(ref) + ("/status" if "." in ref.api_version else "")
        self.server.call("PATCH", path, told, content="application/merge-patch+json")

    def make_ready(self, ref: Ref) -> None:
        """Do what the kind's operator would report when all is well."""
        if ref.kind in {"Kafka", "KafkaTopic", "KafkaUser"}:
            self.report(ref, conditions=[{"type": "Ready", "status": "True"}])
        elif ref.kind == "KafkaNodePool":
            self.report(ref)
        elif ref.kind == "Job":
            self.report(ref, conditions=[{"type": "Complete", "status": "True"}])
        elif ref.kind in {"Deployment", "StatefulSet"}:
            self.report(ref, readyReplicas=3, updatedReplicas=3)
        elif ref.kind == "HelmChart":
            self.report(ref, jobName=f"helm-install-{ref.name}")
        elif ref.kind == "RayCluster":
            self.report(ref, state="ready", desiredWorkerReplicas=2, readyWorkerReplicas=2)
        elif ref.kind == "RayService":
            applications = {"supervisor": {"status": "RUNNING"}}
            active = {"rayClusterName": "pipeline-1", "applicationStatuses": applications}
            self.report(
                ref, conditions=[ready_condition()], activeServiceStatus=active,
                pendingServiceStatus={"rayClusterName": ""},
            )  # fmt: skip

    def operate(self, objects: list[Json]) -> None:
        """Make ready whatever of these is there."""
        present = [ref for ref in map(ref_of, objects) if self.kube.get(ref) is not None]
        self.seen.append(tuple(ref.kind for ref in present))
        for ref in present:
            self.make_ready(ref)

    def _path(self, ref: Ref) -> str:
        root = f"/apis/{ref.api_version}" if "/" in ref.api_version else f"/api/{ref.api_version}"
        resource = self.kube.resource(ref.api_version, ref.kind)
        where = f"/namespaces/{ref.namespace}" if resource.namespaced else ""
        return f"{root}{where}/{resource.plural}/{ref.name}"


def ready_condition(status: str = "True", reason: str = "NonZeroServeEndpoints") -> Json:
    """Return a condition as KubeRay's schema wants it."""
    return {
        "type": "Ready", "status": status, "reason": reason, "message": "",
        "lastTransitionTime": "2026-11-23T00:00:00Z",
    }  # fmt: skip


def changed(obj: Json, path: tuple[str, ...], value: object) -> Json:
    """Return a copy of the object with another value at the path."""
    made = copy.deepcopy(obj)
    place = made
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    return made
