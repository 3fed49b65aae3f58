"""The settings that point at embedded servers."""

from ray_pipeline.local.stack import LocalServers


def test_the_memory_only_broker_switches_idempotence_off():
    servers = LocalServers(kafka_bootstrap_servers="127.0.0.1:1", broker="tansu")

    assert servers.environment() == {
        "PIPELINE_KAFKA__BOOTSTRAP_SERVERS": "127.0.0.1:1",
        "PIPELINE_KAFKA__IDEMPOTENCE": "false",
    }


def test_apache_kafka_leaves_idempotence_on():
    servers = LocalServers(kafka_bootstrap_servers="127.0.0.1:1", broker="kafka")

    assert "PIPELINE_KAFKA__IDEMPOTENCE" not in servers.environment()
