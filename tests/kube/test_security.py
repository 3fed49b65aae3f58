"""Pod security, NetworkPolicies from both sides, and secrets where they must not be."""

import base64
from collections.abc import Iterator

import pytest

from tests.kube.cache import FINNHUB, FIRST_SERVICE, NODE_ADDRESS
from tests.kube.cluster import CommandFailed, is_ready, kubectl, pods, read, until
from tests.kube.providers import CONTROL_PORT

OUTSIDER = "outsider"
CONNECT_S = 4
COMPONENT = "app.kubernetes.io/component"
HEAD = "ray.io/node-type=head"
WORKER = "ray.io/node-type=worker"
POSTGRES = f"{COMPONENT}=postgres"
REDIS = f"{COMPONENT}=redis"
KAFKA = "strimzi.io/cluster=kafka"


def connects(pod: str, host: str, port: int, *, namespace: str = "ray-pipeline") -> bool:
    """Return whether a program in a pod can open a TCP connection."""
    script = f"timeout {CONNECT_S} bash -c '</dev/tcp/{host}/{port}'"
    try:
        kubectl("exec", pod, "--", "bash", "-c", script, namespace=namespace)
    except CommandFailed:
        return False
    return True


def first(selector: str) -> tuple[str, str]:
    """Return the name and the address of a pod."""
    pod = pods(selector)[0]
    return pod["metadata"]["name"], pod["status"]["podIP"]


@pytest.fixture
def outsider(profile: str) -> Iterator[str]:
    """A pod of another namespace, with a connection that works."""
    kubectl(
        "run", OUTSIDER, "--image=ray-pipeline:0.1.0", "--image-pull-policy=Never",
        "--restart=Never", "--command", "--", "sleep", "600", namespace="default",
    )  # fmt: skip
    try:
        until(
            lambda: is_ready(read("get", "pod", OUTSIDER, namespace="default")),
            timeout_s=60.0,
            expected="a running pod in another namespace",
        )
        until(
            lambda: connects(OUTSIDER, FINNHUB, 443, namespace="default"),
            timeout_s=60.0,
            expected="the pod of the other namespace reaches the internet",
        )
        yield OUTSIDER
    finally:
        kubectl("delete", "pod", OUTSIDER, "--force", "--grace-period=0", namespace="default")


def test_the_namespace_refuses_privileged_pods(profile: str):
    """The level `restricted` is enforced."""
    with pytest.raises(CommandFailed, match=r"restricted.*|violates PodSecurity"):
        kubectl("run", "privileged", "--image=ray-pipeline:0.1.0", "--privileged",
                "--dry-run=server")  # fmt: skip


@pytest.mark.parametrize("selector", [HEAD, WORKER, POSTGRES, REDIS])
def test_a_pod_is_not_root_and_cannot_write_its_image(profile: str, selector: str):
    """From the inside."""
    name, _ = first(selector)

    assert kubectl("exec", name, "--", "id", "-u").strip() != "0"
    with pytest.raises(CommandFailed, match="Read-only file system"):
        kubectl("exec", name, "--", "touch", "/usr/written")


def test_nodes_of_ray_reach_providers_and_stores_only(profile: str):
    """Port 443 of the internet, the stores, and nothing else."""
    worker, _ = first(WORKER)

    assert connects(worker, FINNHUB, 443)
    assert connects(worker, "postgres", 5432)
    assert connects(worker, "redis", 6379)
    assert connects(worker, "kafka-kafka-bootstrap", 9093)
    assert not connects(worker, FINNHUB, CONTROL_PORT)
    assert not connects(worker, FIRST_SERVICE, 443)
    assert not connects(worker, NODE_ADDRESS, 10250)
    assert not connects(worker, "169.254.169.254", 80)


@pytest.mark.parametrize("selector", [POSTGRES, REDIS])
def test_stores_reach_nothing(profile: str, selector: str):
    """A store opens no connections, neither to the internet nor to another store."""
    name, _ = first(selector)
    other_address = first(REDIS if selector == POSTGRES else POSTGRES)[1]
    other_port = 6379 if selector == POSTGRES else 5432

    assert not connects(name, FINNHUB, 443)
    assert not connects(name, other_address, other_port)
    assert not connects(name, first(HEAD)[1], 8265)


def test_other_namespaces_reach_nothing(profile: str, outsider: str):
    """Neither stores nor Ray: its dashboard executes what it is sent."""
    targets = {POSTGRES: [5432], REDIS: [6379], KAFKA: [9093], HEAD: [6379, 8265, 8000, 10001]}
    for selector, ports in targets.items():
        _, address = first(selector)
        for port in ports:
            assert not connects(outsider, address, port, namespace="default"), (selector, port)


def test_no_secret_is_in_a_spec_an_event_or_a_log(profile: str):
    """Only Secrets hold the values of Secrets."""
    values = {
        base64.b64decode(value).decode(errors="replace").strip()
        for secret in read("get", "secrets")["items"]
        for name, value in (secret.get("data") or {}).items()
        if "revision" not in secret["metadata"]["name"] and not name.endswith((".crt", ".pem"))
    }
    # Short values, such as the keys of simulated providers, are ordinary words.
    values = {value for value in values if len(value) >= 16 and "\n" not in value}
    kinds = (
        "pods,events,configmaps,rayclusters,rayservices,jobs,statefulsets,deployments,kafkausers"
    )
    texts = {"objects": kubectl("get", kinds, "-o", "yaml")}
    for pod in read("get", "pods")["items"]:
        name = pod["metadata"]["name"]
        if pod["status"]["phase"] in ("Running", "Succeeded"):
            texts[f"log of {name}"] = kubectl("logs", name, "--all-containers")

    assert values
    found = [place for place, text in texts.items() for value in values if value in text]
    assert found == []
