"""Kafka's prerequisites, and the configuration of its listeners."""

import pytest

from ray_pipeline.errors import MissingDependency
from ray_pipeline.local.kafka.kraft import KafkaServer
from ray_pipeline.local.ports import reserve
from tests.secured_kafka import KafkaSecurity, SecuredKafka

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
    server = SecuredKafka(tmp_path, SECURITY)
    server.ports.numbers = (20_001, 20_002, 20_003)

    assert server.bootstrap_servers == "127.0.0.1:20001"
    assert server.listener("PLAINTEXT") == server.bootstrap_servers
    assert server.listener("SASL_PLAINTEXT") == "127.0.0.1:20002"
    assert server.listener("CONTROLLER") == "127.0.0.1:20003"


def test_an_open_broker_has_no_other_listener(tmp_path):
    server = KafkaServer(tmp_path)
    server.ports.numbers = (20_001, 20_002)

    settings = server.settings()

    assert settings["listeners"] == "PLAINTEXT://127.0.0.1:20001,CONTROLLER://127.0.0.1:20002"
    assert settings["advertised.listeners"] == "PLAINTEXT://127.0.0.1:20001"
    assert not any("sasl" in name or "ssl" in name for name in settings)
    assert server.format_arguments() == []


def test_every_user_may_use_both_mechanisms(tmp_path):
    server = SecuredKafka(tmp_path, SECURITY)
    name = "listener.name.sasl_plaintext.plain.sasl.jaas.config"

    assert 'user_ann="secret"' in server.settings()[name]
    assert server.format_arguments() == [
        "--add-scram",
        "SCRAM-SHA-512=[name=ann,password=secret]",
    ]


def test_tls_is_one_more_listener(tmp_path):
    security = KafkaSecurity(users={}, certificate=tmp_path / "broker.pem")

    settings = SecuredKafka(tmp_path, security).settings()

    assert SECURITY.protocols == ("SASL_PLAINTEXT",)
    assert security.protocols == ("SASL_PLAINTEXT", "SASL_SSL")
    assert settings["ssl.keystore.location"] == str(tmp_path / "broker.pem")
