"""The home of the embedded servers, and the settings that point at them."""

from ray_pipeline.local.stack import LocalServers, home


def test_home_is_set_by_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("PIPELINE_HOME", str(tmp_path))

    assert home() == tmp_path


def test_home_is_in_the_users_data_directory_otherwise(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))

    assert home() == tmp_path / "ray-pipeline"


def test_home_follows_the_convention_without_variables(monkeypatch, tmp_path):
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))

    assert home() == tmp_path / ".local" / "share" / "ray-pipeline"


def test_the_memory_only_broker_switches_idempotence_off():
    servers = LocalServers(kafka_bootstrap_servers="127.0.0.1:1", broker="tansu")

    assert servers.environment() == {
        "PIPELINE_KAFKA__BOOTSTRAP_SERVERS": "127.0.0.1:1",
        "PIPELINE_KAFKA__IDEMPOTENCE": "false",
    }


def test_apache_kafka_leaves_idempotence_on():
    servers = LocalServers(kafka_bootstrap_servers="127.0.0.1:1", broker="kafka")

    assert "PIPELINE_KAFKA__IDEMPOTENCE" not in servers.environment()
