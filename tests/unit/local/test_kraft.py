"""Kafka's prerequisites, and the configuration of its listeners."""

import pytest

from ray_pipeline.errors import MissingDependency
from ray_pipeline.local.kafka.kraft import KafkaServer
from ray_pipeline.local.kafka.security import KafkaSecurity
from ray_pipeline.local.ports import reserve

SECURITY = KafkaSecurity(users={"ann": "secret"})


def test_without_java_the_package_and_the_alternative_are_named(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(MissingDependency) as caught:
        KafkaServer(tmp_path).start()

    assert "openjdk-17-jre-headless" in caught.value.fix
    assert "default broker" in caught.value.fix


def test_a_start_that_fails_releases_the_ports(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    server = KafkaServer(tmp_path)

    with pytest.raises(MissingDependency):
        server.start()

    with reserve(preferred=server.ports.numbers) as reservation:
        assert reservation.ports[0] == server.port


def test_every_listener_has_a_port_of_its_own(tmp_path):
    server = KafkaServer(tmp_path, security=SECURITY)
    server.ports.numbers = (20_001, 20_002, 20_003)

    assert server.bootstrap_servers == "127.0.0.1:20001"
    assert server.listener("PLAINTEXT") == server.bootstrap_servers
    assert server.listener("SASL_PLAINTEXT") == "127.0.0.1:20002"
    assert server.listener("CONTROLLER") == "127.0.0.1:20003"
