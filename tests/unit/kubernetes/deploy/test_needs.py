"""The Secrets and namespaces that manifests take for granted."""

import pytest

from ray_pipeline.kubernetes.deploy.needs import (
    home_of,
    placed,
    secrets_made,
    secrets_needed,
    secrets_read,
)
from ray_pipeline.kubernetes.deploy.objects import Json


def an_object(kind: str, spec: Json | None = None, *, namespace: str = "ns") -> Json:
    metadata = {"name": "a"} | ({"namespace": namespace} if namespace else {})
    return {"apiVersion": "v1", "kind": kind, "metadata": metadata, "spec": spec or {}}


def pod(*env: Json, volumes: list[Json] | None = None) -> Json:
    return an_object("Pod", {"containers": [{"env": list(env)}], "volumes": volumes or []})


def variable(secret: str, **more: object) -> Json:
    return {"name": "X", "valueFrom": {"secretKeyRef": {"name": secret, "key": "k"} | more}}


def test_secrets_of_variables_and_volumes_are_read() -> None:
    """Also one that is projected into a volume."""
    volumes: list[Json] = [
        {"name": "v", "secret": {"secretName": "tls"}},
        {"name": "p", "projected": {"sources": [{"secret": {"name": "projected"}}]}},
    ]

    read = {name for _, name in secrets_read(pod(variable("keys"), volumes=volumes))}

    assert read == {"keys", "tls", "projected"}


def test_an_optional_secret_is_not_needed() -> None:
    """The pod starts without it."""
    assert list(secrets_read(pod(variable("keys", optional=True)))) == []


@pytest.mark.parametrize(
    ("obj", "names"),
    [
        (an_object("Secret"), ["a"]),
        (an_object("ExternalSecret", {"target": {"name": "b"}}), ["b"]),
        (an_object("Certificate", {"secretName": "tls"}), ["tls"]),
        (an_object("KafkaUser"), ["a"]),
        (an_object("Kafka"), ["a-cluster-ca-cert", "a-clients-ca-cert"]),
        (an_object("ConfigMap"), []),
    ],
)
def test_operators_write_secrets(obj: Json, names: list[str]) -> None:
    """Under the name that the object gives, or under the object's own name."""
    assert [name for _, name in secrets_made(obj)] == names


def test_only_secrets_that_no_object_makes_are_needed() -> None:
    """A Secret of another namespace does not count."""
    elsewhere = an_object("Secret", namespace="other")

    assert [ref.name for ref in secrets_needed([pod(variable("a")), elsewhere])] == ["a"]
    assert secrets_needed([pod(variable("a")), an_object("Secret")]) == []


def test_objects_without_a_namespace_get_the_given_one() -> None:
    """Except cluster-wide ones."""
    config, namespace = an_object("ConfigMap", namespace=""), an_object("Namespace", namespace="")

    first, second = placed([config, namespace], "home")

    assert first["metadata"] == {"name": "a", "namespace": "home"}
    assert second == namespace


def test_the_home_is_the_namespace_of_ray() -> None:
    """Without Ray, the namespace of most objects."""
    others = [an_object("ConfigMap", namespace="x") for _ in range(3)]

    assert home_of([*others, an_object("RayService", namespace="ray")]) == "ray"
    assert home_of([*others, an_object("ConfigMap", namespace="y")]) == "x"
    assert home_of([an_object("ConfigMap", namespace="")]) == ""
