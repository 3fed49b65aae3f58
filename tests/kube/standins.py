"""
Stand-ins for the programs of K3s and Strimzi that no Go module contains.

    python -m tests.kube.standins

K3s' Helm controller installs charts, its local-path provisioner makes volumes, and Strimzi runs
Kafka. Each stand-in starts what the program would start and writes the status that it would write,
so `deploy` and the pods see the same objects. KubeRay itself is real.
"""

import base64
import secrets
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml
from kubernetes import client, config
from kubernetes.client.exceptions import ApiException

from tests.k8s.authority import Authority
from tests.kube.build import KUBERAY_ROLE
from tests.kube.cache import CRDS, HERE, KUBECONFIG, NODE, PROGRAMS, STATE
from tests.kube.steps import QUICK_S

Json = dict[str, Any]
MANIFESTS = HERE / "manifests"
NAMESPACE = "ray-pipeline"
# Chart -> the folder of its kinds, and the manifests of its programs.
CHARTS: Mapping[str, tuple[str, tuple[Path, ...]]] = {
    "kuberay-operator": (
        "kuberay-1.7.0",
        (KUBERAY_ROLE, MANIFESTS / "kuberay-operator.yaml"),
    ),
    "strimzi-kafka-operator": ("strimzi-1.2.0", ()),
}
STRIMZI = "kafka.strimzi.io"
STRIMZI_KINDS = ("kafkas", "kafkanodepools", "kafkatopics", "kafkausers")
NO_STATUS = ("kafkanodepools",)
KAFKA_HOSTS = ("kafka-kafka-bootstrap", f"kafka-kafka-bootstrap.{NAMESPACE}.svc", "localhost")
PAUSE_S = 0.5
VOLUME_CLASS = "local-path"
SELECTED = "volume.kubernetes.io/selected-node"


def main() -> None:
    """Play all programs until the node ends."""
    config.load_kube_config(str(KUBECONFIG))
    plays: list[Callable[[], None]] = [Helm().play, Strimzi().play, provision_volumes]
    while True:
        for play in plays:
            try:
                play()
            except ApiException as error:
                # 404: the kind does not exist yet. Everything else is tried again.
                if error.status != 404:
                    print(play.__qualname__, error.status, error.body, flush=True)
            except (OSError, subprocess.CalledProcessError) as error:
                print(play.__qualname__, error, flush=True)
        time.sleep(PAUSE_S)


def apply(*arguments: str | Path, text: str | None = None) -> None:
    """Run `kubectl apply`."""
    command = [PROGRAMS / "kube", "kubectl", f"--kubeconfig={KUBECONFIG}", "apply"]
    subprocess.run(
        [*command, "--server-side", *arguments], input=text, text=True, check=True, timeout=QUICK_S
    )


class Helm:
    """K3s' Helm controller, for the two charts of the operators."""

    def __init__(self) -> None:
        self._installed: set[str] = set()

    def play(self) -> None:
        """Install new charts and uninstall deleted ones."""
        api = client.CustomObjectsApi()
        charts = api.list_cluster_custom_object("helm.cattle.io", "v1", "helmcharts")["items"]
        by_name = {chart["metadata"]["name"]: chart for chart in charts}
        for name in self._installed - by_name.keys():
            self._uninstall(name)
        for name in by_name.keys() - self._installed:
            self._install(by_name[name])

    def _install(self, chart: Json) -> None:
        name, spec = chart["metadata"]["name"], chart["spec"]
        directory, manifests = CHARTS[name]
        namespace = {"apiVersion": "v1", "kind": "Namespace"} | {
            "metadata": {"name": spec["targetNamespace"]}
        }
        apply("-f", "-", text=yaml.safe_dump(namespace))
        apply("-f", CRDS / directory)
        for manifest in manifests:
            apply("-f", manifest)
        values = yaml.safe_load(spec.get("valuesContent") or "{}")
        if manifests and (priority := values.get("priorityClassName")):
            pod = {"spec": {"template": {"spec": {"priorityClassName": priority}}}}
            client.AppsV1Api().patch_namespaced_deployment(name, spec["targetNamespace"], pod)
        patch_status("helm.cattle.io/v1", "helmcharts", chart, {"jobName": f"helm-install-{name}"})
        self._installed.add(name)
        print(f"installed the chart {name}", flush=True)

    def _uninstall(self, name: str) -> None:
        # Helm keeps the kinds of a chart.
        if CHARTS[name][1]:
            client.AppsV1Api().delete_namespaced_deployment(name, "kuberay-system")
        self._installed.discard(name)
        print(f"uninstalled the chart {name}", flush=True)


class Strimzi:
    """Strimzi's operators: one broker, ready objects."""

    def play(self) -> None:
        """Start Kafka, or delete it, and write the status of its objects."""
        api = client.CustomObjectsApi()
        if not api.list_namespaced_custom_object(STRIMZI, "v1", NAMESPACE, "kafkas")["items"]:
            self._delete_kafka()
            return
        is_ready = self._is_ready()
        if is_ready is None:
            start_kafka()
            return
        for plural in STRIMZI_KINDS:
            listed = api.list_namespaced_custom_object(STRIMZI, "v1", NAMESPACE, plural)
            for item in listed["items"]:
                self._report(plural, item, is_ready=is_ready or plural in NO_STATUS)

    def _is_ready(self) -> bool | None:
        """Return whether the broker is ready; None if it does not exist."""
        try:
            broker = client.AppsV1Api().read_namespaced_stateful_set("kafka-dual", NAMESPACE)
        except ApiException as error:
            if error.status != 404:
                raise
            return None
        return (broker.status.ready_replicas or 0) > 0

    def _report(self, plural: str, item: Json, *, is_ready: bool) -> None:
        condition = {"type": "Ready" if is_ready else "NotReady", "status": "True"}
        status = {
            "observedGeneration": item["metadata"]["generation"],
            "conditions": [condition],
        }
        if item.get("status") != status:
            patch_status(f"{STRIMZI}/v1", plural, item, status)

    def _delete_kafka(self) -> None:
        # As Strimzi does: the claims stay if the pool's volumes have deleteClaim: false.
        if self._is_ready() is None:
            return
        client.AppsV1Api().delete_namespaced_stateful_set("kafka-dual", NAMESPACE)
        core = client.CoreV1Api()
        core.delete_namespaced_service("kafka-kafka-bootstrap", NAMESPACE)
        core.delete_namespaced_config_map("kafka-broker", NAMESPACE)
        for name in ("kafka-cluster-ca-cert", "ray-pipeline", "kafka-broker-certificate"):
            core.delete_namespaced_secret(name, NAMESPACE)


def start_kafka() -> None:
    """Create the broker with a new certificate; keep the password that its volume may hold."""
    directory = STATE / "kafka"
    if not directory.exists():
        directory.mkdir()
        authority = Authority(directory)
        authority.sign("broker", group="kafka", hosts=KAFKA_HOSTS)
        (directory / "password").write_text(secrets.token_hex(16))
    parts = [(directory / name).read_text() for name in ("broker.key", "broker.crt", "ca.crt")]
    contents = {
        "kafka-cluster-ca-cert": {"ca.crt": parts[2]},
        "ray-pipeline": {"password": (directory / "password").read_text()},
        "kafka-broker-certificate": {"server.pem": "".join(parts)},
    }
    for name, data in contents.items():
        apply("-f", "-", text=yaml.safe_dump(secret(name, data)))
    apply("--namespace", NAMESPACE, "-f", MANIFESTS / "kafka.yaml")
    print("started Kafka", flush=True)


def secret(name: str, data: Mapping[str, str]) -> Json:
    """Return a Secret of the pipeline's namespace."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "data": {key: base64.b64encode(text.encode()).decode() for key, text in data.items()},
    }


def patch_status(api_version: str, plural: str, item: Json, status: Json) -> None:
    """Write the status of a custom object."""
    group, version = api_version.split("/")
    metadata = item["metadata"]
    client.CustomObjectsApi().patch_namespaced_custom_object_status(
        group, version, metadata["namespace"], plural, metadata["name"], {"status": status}
    )


def provision_volumes() -> None:
    """Make a directory and a volume for each claim of a scheduled pod, as local-path does."""
    core = client.CoreV1Api()
    for claim in core.list_persistent_volume_claim_for_all_namespaces().items:
        annotations = claim.metadata.annotations or {}
        if claim.spec.volume_name or claim.spec.storage_class_name != VOLUME_CLASS:
            continue
        if annotations.get(SELECTED) == NODE:
            _provision(core, claim)
    for volume in core.list_persistent_volume().items:
        if volume.status.phase == "Released":
            core.delete_persistent_volume(volume.metadata.name)


def _provision(core: client.CoreV1Api, claim: Any) -> None:
    metadata = claim.metadata
    name = f"pvc-{metadata.uid}"
    directory = STATE / "volumes" / f"{name}_{metadata.namespace}_{metadata.name}"
    directory.mkdir(parents=True, exist_ok=True)
    directory.chmod(0o777)
    node = {"key": "kubernetes.io/hostname", "operator": "In", "values": [NODE]}
    try:
        core.create_persistent_volume({
            "metadata": {"name": name},
            "spec": {
                "capacity": {"storage": claim.spec.resources.requests["storage"]},
                "accessModes": claim.spec.access_modes,
                "storageClassName": VOLUME_CLASS,
                "persistentVolumeReclaimPolicy": "Delete",
                "hostPath": {"path": str(directory)},
                "claimRef": {
                    "kind": "PersistentVolumeClaim",
                    "namespace": metadata.namespace,
                    "name": metadata.name,
                    "uid": metadata.uid,
                },
                "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [node]}]}},
            },
        })  # fmt: skip
    except ApiException as error:
        if error.status != 409:  # made a moment ago, not bound yet
            raise


if __name__ == "__main__":
    main()
